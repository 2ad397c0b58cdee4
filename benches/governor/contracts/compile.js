// Compiles the contracts beside it: node compile.js MODULES OUT, where MODULES is the folder that
// npm filled. OUT is written as JSON: the bytecode of each contract in hexadecimal, and the
// versions it comes from.
'use strict';
const fs = require('node:fs');
const path = require('node:path');

const [modules, out] = process.argv.slice(2);
if (!modules || !out) {
  console.error('usage: node compile.js MODULES OUT');
  process.exit(64);
}
const solc = require(path.join(modules, 'solc'));
const source = fs.readFileSync(path.join(__dirname, 'Peer.sol'), 'utf8');
const input = {
  language: 'Solidity',
  sources: { 'Peer.sol': { content: source } },
  settings: {
    evmVersion: 'cancun',
    optimizer: { enabled: true, runs: 200 },
    outputSelection: { '*': { '*': ['evm.bytecode.object'] } },
  },
};
const compiled = JSON.parse(
  solc.compile(JSON.stringify(input), {
    import: (name) => ({ contents: fs.readFileSync(path.join(modules, name), 'utf8') }),
  }),
);
const errors = (compiled.errors || []).filter((error) => error.severity === 'error');
if (errors.length) {
  for (const error of errors) console.error(error.formattedMessage);
  process.exit(1);
}
const contracts = {};
for (const name of ['Token', 'Timelock', 'Peer', 'Box']) {
  contracts[name] = compiled.contracts['Peer.sol'][name].evm.bytecode.object;
}
const openzeppelin = require(path.join(modules, '@openzeppelin/contracts/package.json')).version;
fs.writeFileSync(out, JSON.stringify({ solc: solc.version(), openzeppelin, contracts }));
