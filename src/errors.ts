/** Stable, machine-readable causes. A caller switches on these; messages may change. */
export type ErrorCode =
  | 'FILE_NOT_FOUND'
  | 'FILE_TRUNCATED'
  | 'FILE_INVALID'
  | 'READ_FAILED'
  | 'WRITE_FAILED'
  | 'TENSOR_MISSING'
  | 'TENSOR_UNEXPECTED'
  | 'TENSOR_SHAPE'
  | 'TENSOR_TYPE'
  | 'CONFIG_INVALID'
  | 'CONFIG_UNSUPPORTED'
  | 'TOKENIZER_INVALID'
  | 'TEMPLATE_FAILED'
  | 'OPTION_INVALID'
  | 'CONTEXT_EXCEEDED'
  | 'NO_ADAPTER'
  | 'OUT_OF_MEMORY'
  | 'DEVICE_LOST'
  | 'GPU_ERROR'
  | 'DISPOSED'
  | 'ABORTED';

/**
 * Every error that this library throws on purpose. `message` names the file, tensor or option at
 * fault and ends with what to do about it; `code` says which kind of failure it was.
 */
export class MowgliError extends Error {
  override readonly name: string = 'MowgliError';
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/** Throws `ABORTED` if the signal has fired. Call it between units of work. */
export function throwIfAborted(signal: AbortSignal | undefined, what: string): void {
  if (signal?.aborted) {
    throw new MowgliError('ABORTED', `${what} was aborted`, { cause: signal.reason });
  }
}
