// An OpenID Connect provider for tests: panva's, certified, with faults on demand. Started with the node_modules directory as its argument.
// Reads one JSON command a line and answers `> ` and JSON; ends with its input. Its login form takes anybody.
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const modules = process.argv[2];
const { default: Provider } = await import(pathToFileURL(join(modules, 'oidc-provider/lib/index.js')));
const jose = createRequire(join(modules, 'x.js'))('jose');

const SECRET = 'a secret/with:what+must%be&encoded';
const REDIRECT = 'https://app.example.com/auth/oidc/callback';
// Of two, each request has to say which.
const REDIRECTS = [REDIRECT, 'https://app.example.com/elsewhere'];
const client = (id, alg) => ({
  client_id: id, client_secret: SECRET, redirect_uris: REDIRECTS, id_token_signed_response_alg: alg,
});

let faults = {};
let keys;
let provider;
const asked = {};

async function privateKey(alg, kid) {
  const { privateKey: key } = await jose.generateKeyPair(alg, { crv: 'Ed25519', extractable: true });
  return { ...await jose.exportJWK(key), alg, use: 'sig', kid };
}

async function changed(token) {
  if (faults.signature === 'tampered') {
    const [header, , signature] = token.split('.');
    const claims = { ...jose.decodeJwt(token), sub: 'eve' };
    return [header, Buffer.from(JSON.stringify(claims)).toString('base64url'), signature].join('.');
  }
  if (faults.unsigned) {
    const header = Buffer.from('{"alg":"none"}').toString('base64url');
    return `${header}.${token.split('.')[1]}.`;
  }
  if (!faults.claims) return token;
  const rsa = await jose.importJWK(keys[0], 'RS256');
  return new jose.SignJWT({ ...jose.decodeJwt(token), ...faults.claims })
    .setProtectedHeader({ alg: 'RS256', kid: keys[0].kid }).sign(rsa);
}

// New keys, and the old ones gone.
async function rotate(generation) {
  keys = [
    await privateKey('RS256', `rsa-${generation}`),
    await privateKey('ES256', `ec-${generation}`),
    await privateKey('EdDSA', `ed-${generation}`),
  ];
  provider = new Provider(issuer, {
    clients: [client('plimsoll', 'RS256'), client('plimsoll-ec', 'ES256'), client('plimsoll-ed', 'EdDSA')],
    jwks: { keys },
    cookies: { keys: ['of the tests'] },
    conformIdTokenClaims: false,
    claims: { openid: ['sub'], profile: ['name'] },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, name: `${id} of the provider` }) }),
  });
  provider.use(async (ctx, next) => {
    asked[ctx.path] = (asked[ctx.path] ?? 0) + 1;
    const fault = faults.answers?.[ctx.path];
    if (fault) {
      ctx.status = fault.status;
      ctx.set(fault.headers ?? {});
      ctx.body = fault.long ? 'x'.repeat(fault.long) : fault.body ?? '';
      return;
    }
    await next();
    if (ctx.path === '/token' && ctx.body?.id_token) ctx.body.id_token = await changed(ctx.body.id_token);
  });
}

const server = createServer((request, response) => provider.callback()(request, response));
await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
const issuer = `http://127.0.0.1:${server.address().port}`;
let generation = 1;
await rotate(generation);

const say = (answer) => console.log(`> ${JSON.stringify(answer)}`);
say({ issuer, client_secret: SECRET, redirect_uri: REDIRECT });
for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  if ('faults' in command) faults = command.faults;
  if (command.rotate) await rotate(generation += 1);
  say({ asked });
}
process.exit(0);
