/**
 * The layers of docs/ARCHITECTURE.md, as rules: for each layer, what it may import. Everything may
 * import its own folder, the errors and npm packages; anything else is listed, and the arrows only go
 * down. `npm run check` enforces it.
 */
const below = {
  quant: [],
  gpu: [],
  text: ['generate/types'],
  grammar: ['text', 'generate/constraint', 'generate/types'],
  files: ['quant', 'text/qwen-words'],
  kernels: ['gpu', 'quant'],
  experts: ['kernels', 'gpu', 'quant', 'files'],
  charts: ['experts'],
  model: ['experts', 'kernels', 'gpu', 'quant', 'files'],
  planner: ['model', 'experts', 'kernels', 'gpu', 'quant', 'files'],
  generate: ['planner', 'model', 'experts', 'kernels', 'gpu', 'quant', 'files', 'text', 'grammar'],
  // What only Node has (the file system, Dawn), for the entry point `node.ts` and the programs.
  node: ['gpu', 'quant', 'files'],
  server: ['index', 'node'],
  cli: ['index', 'node', 'server'],
};

/** A folder or file of src/ as a regular expression. */
const part = (name) => `^src/${name}(/|\\.ts$)`;

const layers = Object.entries(below).map(([layer, others]) => ({
  name: `${layer}-imports-only-what-is-below`,
  comment: `src/${layer} may import ${others.join(', ') || 'nothing else of src'}`,
  severity: 'error',
  from: { path: `^src/${layer}/` },
  to: { path: '^src/', pathNot: [layer, ...others, 'errors'].map(part) },
}));

module.exports = {
  forbidden: [
    ...layers,
    {
      name: 'no-circles',
      comment: 'of two files that only name each other as types, neither has to run first',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    {
      name: 'library-does-not-import-programs',
      comment: 'index.ts, node.ts and browser.ts are what cli/ and server/ stand on',
      severity: 'error',
      from: { path: '^src/[^/]+\\.ts$' },
      to: { path: '^src/(cli|server)/' },
    },
    {
      name: 'node-only-behind-its-entry-point',
      comment: 'the rest of the library also runs in a browser',
      severity: 'error',
      from: {
        path: '^src/',
        pathNot: ['^src/node(/|\\.ts$)', '^src/(cli|server)/', '\\.test\\.ts$'],
      },
      to: { path: '^src/node(/|\\.ts$)' },
    },
    {
      name: 'node-builtins-only-behind-the-node-entry-point',
      comment: 'the rest of the library also runs in a browser',
      severity: 'error',
      from: {
        path: '^src/',
        pathNot: ['^src/node(/|\\.ts$)', '^src/(cli|server)/', '\\.test\\.ts$'],
      },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: 'dawn-only-in-node',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/node/dawn\\.ts$' },
      to: { path: '(^|/)node_modules/webgpu/' },
    },
    {
      name: 'runtime-dependencies-are-declared',
      comment: 'what an installed package imports has to be among its dependencies',
      severity: 'error',
      from: { path: '^src/', pathNot: '\\.test\\.ts$' },
      to: {
        dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown', 'unknown', 'undetermined'],
        dependencyTypesNot: ['type-only'],
      },
    },
    {
      name: 'no-orphans',
      comment: 'a file that nothing imports is left over, or waits for its use',
      severity: 'warn',
      from: { orphan: true, path: '^src/' },
      to: {},
    },
  ],
  options: {
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true, // Types cross layers as much as values do.
    doNotFollow: { path: 'node_modules' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default', 'types'],
    },
  },
};
