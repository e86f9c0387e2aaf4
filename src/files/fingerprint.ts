import type { Checkpoint } from './checkpoint.ts';

/** Bytes of a tensor that tell it from that of another training. */
const sampleBytes = 64 << 10;

/**
 * What tells a model from every other one, however it is called: a hash of its arithmetic (the
 * configuration but for its limits), of its tensors' names, types and shapes, and of the beginnings of
 * some that any training changes. Keys and values that one model computed are good for another with the
 * same fingerprint.
 *
 * @returns SHA-256 in hexadecimal
 * @throws what reading tensors throws
 */
export async function fingerprint(checkpoint: Checkpoint): Promise<string> {
  const { config, tensors } = checkpoint;
  const { eosTokenIds: _ends, maxPositionEmbeddings: _longest, ...arithmetic } = config;
  const list = Array.from(tensors.tensors.values(), ({ name, type, shape }) => [name, type, shape]);
  list.sort(([a], [b]) => (a < b ? -1 : 1));
  const samples: [string, string][] = [];
  for (const name of sampled(checkpoint)) {
    const tensor = tensors.tensors.get(name);
    if (!tensor) continue;
    const length = Math.min(sampleBytes, tensor.bytes);
    samples.push([name, await sha256(await tensors.read(name, { length }))]);
  }
  const parts = [Object.entries(arithmetic).sort(([a], [b]) => (a < b ? -1 : 1)), list, samples];
  return sha256(new TextEncoder().encode(JSON.stringify(parts)));
}

/** Tensors that full training, and all usual kinds of fine-tuning, leave a trace in. */
function sampled({ config }: Checkpoint): string[] {
  const last = config.numHiddenLayers - 1;
  return [
    'model.norm.weight',
    `model.layers.${config.sparseLayers.indexOf(true)}.mlp.gate.weight`,
    'model.layers.0.self_attn.q_proj.weight',
    `model.layers.${last}.self_attn.q_proj.weight`,
    `model.layers.${last}.self_attn.v_proj.weight`,
    `model.layers.${last}.mlp.experts.0.down_proj.weight`,
    `model.layers.${last}.mlp.down_proj.weight`,
  ];
}

async function sha256(bytes: Uint8Array): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>);
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
