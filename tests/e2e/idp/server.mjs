// The provider of the login tests: the certified package oidc-provider with three users who have groups.
// node server.mjs '{"port": 9500, "redirect": "https://…/callback", "secret": "…", "keys": "/path/of/keys.json"}'
//
// Its pages are the package's own. Beside them: POST /test/rotate replaces the signing key, GET /test/seen says how
// often each path was asked for. The keys outlive the process in a file, as those of a real provider do.
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';

import Provider from 'oidc-provider';

const chosen = JSON.parse(process.argv[2]);
const issuer = `http://127.0.0.1:${chosen.port}`;
const groups = new Map([
  ['alice', ['finance', 'staff']],
  ['bob', ['staff']],
  ['carol', ['sallyport-admins']],
]);
const seen = {};

function newKey() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), use: 'sig', alg: 'RS256' };
}

function signWith(key) {
  writeFileSync(chosen.keys, JSON.stringify(key), { mode: 0o600 });
  const provider = new Provider(issuer, {
    clients: [{
      client_id: 'sallyport',
      client_secret: chosen.secret,
      redirect_uris: [chosen.redirect],
      response_types: ['code'],
      grant_types: ['authorization_code'],
    }],
    jwks: { keys: [key] },
    cookies: { keys: ['only for tests'] },
    scopes: ['openid', 'profile', 'groups'],
    claims: { openid: ['sub'], profile: ['preferred_username'], groups: ['groups'] },
    conformIdTokenClaims: false, // groups in the ID token, although there is a userinfo endpoint
    pkce: { required: () => true },
    features: { devInteractions: { enabled: true } },
    findAccount: (_context, id) => groups.has(id) && {
      accountId: id,
      claims: () => ({ sub: id, preferred_username: id, groups: groups.get(id) }),
    },
  });
  provider.on('server_error', (_context, error) => console.error('server error', error));
  return provider.callback();
}

let answer = signWith(existsSync(chosen.keys) ? JSON.parse(readFileSync(chosen.keys, 'utf8')) : newKey());

createServer((request, response) => {
  const path = request.url.split('?')[0];
  seen[path] = (seen[path] ?? 0) + 1;
  if (path === '/test/rotate' && request.method === 'POST') {
    answer = signWith(newKey());
    response.end('rotated');
  } else if (path === '/test/seen') {
    response.end(JSON.stringify(seen));
  } else {
    answer(request, response);
  }
}).listen(chosen.port, '127.0.0.1', () => console.log(`provider ready: ${issuer}`));
