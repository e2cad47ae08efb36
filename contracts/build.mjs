#!/usr/bin/env node
// Compiles contracts/src into contracts/artifacts/<Name>.json ({contractName, abi, bytecode}).
//
//   node contracts/build.mjs           writes the artifacts
//   node contracts/build.mjs --check   writes nothing; exits 1 and says what differs
//
// Either way the events of the ABIs are compared with contracts/events.json, the table of spec 1 §5.4.

import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, dirname, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

const SOLC_VERSION = '0.8.37';
const SETTINGS = {
  optimizer: { enabled: true, runs: 200 },
  evmVersion: 'cancun',
  // Without the hash of sources and comments, bytecode changes only when the code does.
  metadata: { bytecodeHash: 'none' },
  outputSelection: { '*': { '*': ['abi', 'evm.bytecode.object'] } },
};

const here = dirname(fileURLToPath(import.meta.url));
const sourceDir = join(here, 'src');
const artifactDir = join(here, 'artifacts');

function fail(message) {
  console.error(message);
  process.exit(1);
}

/** The compiler, from the first place that has it. */
function loadSolc() {
  const places = [
    ...(process.env.NODE_PATH ?? '').split(delimiter).filter(Boolean),
    join(here, 'node_modules'),
    join(here, '..', 'target', 'tools', 'node_modules'),
  ];
  const found = places.find((place) => existsSync(join(place, 'solc', 'package.json')));
  if (found === undefined) {
    fail(`solc ${SOLC_VERSION} is in none of ${places.join(', ')}; run \`cargo xtask setup\` and try again`);
  }
  const require = createRequire(join(found, 'solc', 'package.json'));
  const { version } = require('./package.json');
  if (version !== SOLC_VERSION) {
    fail(`${found} holds solc ${version}, but the artifacts are made with ${SOLC_VERSION}; run \`cargo xtask setup\``);
  }
  return require('./index.js');
}

/** Every Solidity file under src, as {'Vault/VaultRouter.sol': {content}}, sorted. */
function readSources() {
  return Object.fromEntries(
    readdirSync(sourceDir, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && entry.name.endsWith('.sol'))
      .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
      .sort()
      .map((path) => [relative(sourceDir, path).split(sep).join('/'), { content: readFileSync(path, 'utf8') }]),
  );
}

/** {name: artifact} of every contract that can be deployed. */
function compile() {
  const input = { language: 'Solidity', sources: readSources(), settings: SETTINGS };
  const output = JSON.parse(loadSolc().compile(JSON.stringify(input)));
  const messages = output.errors ?? [];
  // A warning is a failure too: none is left to get used to.
  if (messages.length > 0) fail(messages.map((message) => message.formattedMessage).join('\n'));

  const artifacts = {};
  for (const [source, contracts] of Object.entries(output.contracts)) {
    for (const [contractName, { abi, evm }] of Object.entries(contracts)) {
      const bytecode = evm.bytecode.object;
      if (bytecode === '' || abi.length === 0) continue; // an interface, an abstract contract, or a library of constants
      if (artifacts[contractName] !== undefined) fail(`two contracts are named ${contractName}; the second is in ${source}`);
      artifacts[contractName] = { contractName, abi, bytecode: `0x${bytecode}` };
    }
  }
  return artifacts;
}

/** What the ABIs lack or say otherwise than the table of spec 1 §5.4. */
function eventDifferences(artifacts) {
  const table = JSON.parse(readFileSync(join(here, 'events.json'), 'utf8'));
  const text = (parameters) => parameters.map(({ name, type }) => `${type} ${name}`).join(', ');
  const differences = [];
  for (const { contract, event, signature, indexed, data } of table) {
    const found = artifacts[contract]?.abi.find((item) => item.type === 'event' && item.name === event);
    if (found === undefined) {
      differences.push(`${contract} has no event ${event}`);
      continue;
    }
    const actual = {
      signature: `${found.name}(${found.inputs.map((input) => input.type).join(',')})`,
      indexed: text(found.inputs.filter((input) => input.indexed)),
      data: text(found.inputs.filter((input) => !input.indexed)),
    };
    const wanted = { signature, indexed: text(indexed), data: text(data) };
    for (const part of Object.keys(wanted)) {
      if (actual[part] !== wanted[part]) {
        differences.push(`${contract}.${event}: ${part} is \`${actual[part]}\`, spec 1 §5.4 says \`${wanted[part]}\``);
      }
    }
  }
  return differences;
}

/** What separates the committed artifacts from the compiled ones. */
function artifactDifferences(artifacts) {
  const differences = [];
  const committed = existsSync(artifactDir) ? readdirSync(artifactDir) : [];
  for (const file of committed) {
    if (artifacts[file.replace(/\.json$/, '')] === undefined) differences.push(`${file} has no source any more`);
  }
  for (const [name, artifact] of Object.entries(artifacts)) {
    const path = join(artifactDir, `${name}.json`);
    if (!existsSync(path)) {
      differences.push(`${name}.json is missing`);
      continue;
    }
    const text = readFileSync(path, 'utf8');
    if (text === render(artifact)) continue;
    let old;
    try {
      old = JSON.parse(text);
    } catch (error) {
      differences.push(`${name}.json is not JSON: ${error.message}`);
      continue;
    }
    const parts = ['contractName', 'abi', 'bytecode'].filter(
      (part) => JSON.stringify(old[part]) !== JSON.stringify(artifact[part]),
    );
    differences.push(`${name}.json: ${parts.length > 0 ? `not the same ${parts.join(' and ')}` : 'not the same formatting'}`);
  }
  return differences;
}

function render(artifact) {
  return `${JSON.stringify(artifact, null, 2)}\n`;
}

function write(artifacts) {
  mkdirSync(artifactDir, { recursive: true });
  for (const file of readdirSync(artifactDir)) {
    if (artifacts[file.replace(/\.json$/, '')] === undefined) rmSync(join(artifactDir, file));
  }
  for (const [name, artifact] of Object.entries(artifacts)) {
    writeFileSync(join(artifactDir, `${name}.json`), render(artifact));
  }
}

const options = process.argv.slice(2);
const check = options.includes('--check');
const unknown = options.find((option) => option !== '--check');
if (unknown !== undefined) fail(`unknown option ${unknown}; usage: node contracts/build.mjs [--check]`);

const artifacts = compile();
const count = Object.keys(artifacts).length;
const events = eventDifferences(artifacts);
if (events.length > 0) fail(`the events differ from contracts/events.json:\n  ${events.join('\n  ')}`);
if (check) {
  const differences = artifactDifferences(artifacts);
  if (differences.length > 0) {
    fail(`contracts/artifacts does not match contracts/src:\n  ${differences.join('\n  ')}\nrun \`node contracts/build.mjs\` and commit`);
  }
  console.log(`${count} artifacts match the sources, and their events spec 1 §5.4`);
} else {
  write(artifacts);
  console.log(`${count} artifacts written`);
}
