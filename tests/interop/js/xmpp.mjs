// A client on @xmpp/client: logs in, greets PEER, echoes what it hears until that is "stop".
//
//   node xmpp.mjs NODE_MODULES SERVICE USER PASSWORD PEER
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [modules, service, username, password, peer] = process.argv.slice(2);
const require = createRequire(`${modules}/`);
// Node 22 has one of its own; Debian's is older.
globalThis.WebSocket ??= require("ws");
const { client, xml } = await import(pathToFileURL(require.resolve("@xmpp/client")));

const xmpp = client({ service, domain: "localhost", resource: "js", username, password });
const say = (to, body) => xmpp.send(xml("message", { to, type: "chat" }, xml("body", {}, body)));

xmpp.on("error", (error) => {
  console.error(error);
  process.exit(1);
});
xmpp.on("stanza", async (stanza) => {
  const body = stanza.is("message") && stanza.getChildText("body");
  if (body === "stop") await xmpp.stop();
  else if (body) await say(stanza.attrs.from, `you said ${body}`);
});
xmpp.on("online", async (address) => {
  await xmpp.send(xml("presence"));
  await say(peer, `hello from ${address}`);
});
await xmpp.start();
