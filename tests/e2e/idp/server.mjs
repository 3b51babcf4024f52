// The provider of the login tests: the certified package oidc-provider with three users who have groups.
// node server.mjs '{"port": 9500, "redirect": "https://…/callback", "logout": "https://…/backchannel-logout",
//                   "authority": "/path/of/ca.crt", "secret": "…", "keys": "/path/of/keys.json", "profile": "oidc",
//                   "client_keys": "https://…/jwks.json"}'
//
// With the profile fapi2 the client signs instead of sending its secret, requests must be pushed, and every access token
// is bound to the client's key by proofs that carry a nonce of this provider.
// Its pages are the package's own. Beside them: POST /test/rotate replaces the signing key, POST /test/userinfo moves the
// groups from the ID token to the userinfo endpoint or back, GET /test/seen says how often each path was asked for. The keys outlive the process in a file, as those of a real provider do.
import { generateKeyPairSync, randomBytes, randomUUID } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { setDefaultCACertificates } from 'node:tls';

import Provider from 'oidc-provider';

const chosen = JSON.parse(process.argv[2]);
const issuer = `http://127.0.0.1:${chosen.port}`;
const groups = new Map([
  ['alice', ['finance', 'staff']],
  ['bob', ['staff']],
  ['carol', ['sallyport-admins']],
]);
const seen = {};
let atUserinfo = false;

// The package refuses to reach loopback addresses, where the gateway of these tests is; the gateway makes its
// certificate authority after the provider has started.
function reach(url, { dispatcher, ...options }) {
  setDefaultCACertificates([readFileSync(chosen.authority, 'utf8')]);
  return fetch(url, options);
}

const strict = chosen.profile === 'fapi2';
const algorithm = strict ? 'PS256' : 'RS256';
const client = strict ? {
  token_endpoint_auth_method: 'private_key_jwt',
  token_endpoint_auth_signing_alg: 'ES256',
  jwks_uri: chosen.client_keys,
  id_token_signed_response_alg: algorithm,
  dpop_bound_access_tokens: true,
  require_pushed_authorization_requests: true,
} : { client_secret: chosen.secret };
const strictness = strict ? {
  fapi: { enabled: true, profile: '2.0' },
  pushedAuthorizationRequests: { enabled: true, requirePushedAuthorizationRequests: true },
  dPoP: { enabled: true, nonceSecret: randomBytes(32), requireNonce: () => true },
} : {};

function newKey() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), use: 'sig', alg: algorithm };
}

function signWith(key) {
  writeFileSync(chosen.keys, JSON.stringify(key), { mode: 0o600 });
  const provider = new Provider(issuer, {
    clients: [{
      client_id: 'sallyport',
      ...client,
      redirect_uris: [chosen.redirect],
      response_types: ['code'],
      grant_types: ['authorization_code'],
      backchannel_logout_uri: chosen.logout,
      backchannel_logout_session_required: true,
    }],
    jwks: { keys: [key] },
    cookies: { keys: ['only for tests'] },
    scopes: ['openid', 'profile', 'groups'],
    claims: { openid: ['sub'], profile: ['preferred_username'], groups: ['groups'] },
    conformIdTokenClaims: atUserinfo, // false: groups in the ID token, although there is a userinfo endpoint
    pkce: { required: () => true },
    features: { devInteractions: { enabled: true }, backchannelLogout: { enabled: true }, ...strictness },
    clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none'],
    fetch: reach,
    findAccount: (_context, id) => groups.has(id) && {
      accountId: id,
      claims: () => ({ sub: id, preferred_username: id, groups: groups.get(id) }),
    },
  });
  const refused = ['authorization.error', 'grant.error', 'pushed_authorization_request.error', 'userinfo.error'];
  refused.forEach((name) => provider.on(name, (_context, error) => console.log(`refused (${name}): ${error.message} ${error.error_detail ?? ''}`)));
  provider.on('server_error', (_context, error) => console.error('server error', error));
  provider.on('backchannel.success', (_context, client) => console.log(`logged out at ${client.clientId}`));
  provider.on('backchannel.error', (_context, error) => console.error('logout refused:', error));
  return provider.callback();
}

let answer = signWith(existsSync(chosen.keys) ? JSON.parse(readFileSync(chosen.keys, 'utf8')) : newKey());

createServer((request, response) => {
  const path = request.url.split('?')[0];
  seen[path] = (seen[path] ?? 0) + 1;
  if (path === '/test/rotate' && request.method === 'POST') {
    answer = signWith(newKey());
    response.end('rotated');
  } else if (path === '/test/userinfo' && request.method === 'POST') {
    atUserinfo = !atUserinfo;
    answer = signWith(JSON.parse(readFileSync(chosen.keys, 'utf8')));
    response.end('moved');
  } else if (path === '/test/seen') {
    response.end(JSON.stringify(seen));
  } else {
    answer(request, response);
  }
}).listen(chosen.port, '127.0.0.1', () => console.log(`provider ready: ${issuer}`));
