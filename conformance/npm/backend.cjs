// Backend Services with the npm library fhir-kit-client: discovery, a token by private_key_jwt, a search, a read.
//
//   node backend.cjs FHIR_BASE CLIENT_ID SCOPE TYPE < private.jwk
//
// Prints one JSON object: what was discovered and found.
const { randomUUID } = require("node:crypto");
const { importJWK, SignJWT } = require("jose");
const Client = require("fhir-kit-client");

async function main([base, clientId, scope, type]) {
  let text = "";
  for await (const chunk of process.stdin) text += chunk;
  const jwk = JSON.parse(text);
  const client = new Client({ baseUrl: base });
  const smart = await client.smartAuthMetadata();
  const tokenUrl = smart.tokenUrl.href || String(smart.tokenUrl);
  const assertion = await new SignJWT({})
    .setProtectedHeader({ alg: "ES384", kid: jwk.kid, typ: "JWT" })
    .setIssuer(clientId).setSubject(clientId).setAudience(tokenUrl).setJti(randomUUID())
    .setIssuedAt().setExpirationTime("4m")
    .sign(await importJWK(jwk, "ES384"));
  const answer = await fetch(tokenUrl, {
    method: "POST",
    body: new URLSearchParams({
      grant_type: "client_credentials", scope,
      client_assertion_type: "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", client_assertion: assertion,
    }),
  });
  const token = await answer.json();
  if (!answer.ok) throw new Error("token: " + answer.status + " " + token.error);
  client.bearerToken = token.access_token;
  const bundle = await client.search({ resourceType: type, searchParams: { _count: 3 } });
  const found = (bundle.entry || []).map((e) => e.resource).filter((r) => r.resourceType === type);
  const read = found.length ? await client.read({ resourceType: type, id: found[0].id }) : null;
  console.log(JSON.stringify({
    tokenUrl, authorizeUrl: String(smart.authorizeUrl && (smart.authorizeUrl.href || smart.authorizeUrl)),
    expires: token.expires_in, scope: token.scope, found: found.map((r) => r.id), read: read && read.id,
  }));
}

main(process.argv.slice(2)).catch((error) => {
  console.error(String(error && error.stack || error));
  process.exit(1);
});
