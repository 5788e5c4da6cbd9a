// Strophe and converse.js in Chromium, as a page of another origin would use them.
//
//   node browser.mjs NODE_MODULES LIBRARY SERVICE USER PASSWORD PEER
//
// The page greets PEER and echoes what it hears until that is "stop".
import { createReadStream, existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { extname, join } from "node:path";
import { pathToFileURL } from "node:url";

const [modules, library, service, user, password, peer] = process.argv.slice(2);
const require = createRequire(`${modules}/`);
const puppeteer = (await import(pathToFileURL(require.resolve("puppeteer-core")))).default;

const kinds = { ".js": "text/javascript", ".cjs": "text/javascript", ".css": "text/css", ".json": "application/json", ".wasm": "application/wasm" };
const page404 = (response) => response.writeHead(404).end();
const server = createServer((request, response) => {
  const path = new URL(request.url, "http://x").pathname;
  if (path === "/") {
    response.writeHead(200, { "content-type": "text/html" });
    return response.end(readFileSync(new URL("page.html", import.meta.url)));
  }
  const file = join(modules, path);
  if (!existsSync(file)) return page404(response);
  response.writeHead(200, { "content-type": kinds[extname(file)] ?? "application/octet-stream" });
  createReadStream(file).pipe(response);
});
await new Promise((done) => server.listen(0, "127.0.0.1", done));
const origin = `http://127.0.0.1:${server.address().port}`;

const browser = await puppeteer.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
});
let failed = false;
try {
  const page = await browser.newPage();
  page.on("console", (message) => console.log(message.text()));
  page.on("pageerror", (error) => console.log(`pageerror ${error}`));
  const ended = new Promise((done) => page.exposeFunction("ended", done));
  await page.goto(origin);
  if (library === "strophe") await strophe(page);
  else await converse(page);
  await ended;
} catch (error) {
  console.error(error);
  failed = true;
} finally {
  await browser.close();
  server.close();
}
process.exit(failed ? 1 : 0);

async function strophe(page) {
  await page.addScriptTag({ url: "/strophe.js/dist/strophe.umd.min.js" });
  await page.evaluate(run, service, user, password, peer);

  function run(service, user, password, peer) {
    const { Strophe, $msg, $pres } = window.strophe ?? window;
    const connection = new Strophe.Connection(service);
    const say = (to, body) => connection.send($msg({ to, type: "chat" }).c("body").t(body));
    connection.addHandler((message) => {
      const body = Strophe.unescapeNode?.(message.querySelector("body")) ?? message.querySelector("body")?.textContent;
      const text = message.querySelector("body")?.textContent;
      if (text === "stop") connection.disconnect();
      else if (body) say(message.getAttribute("from"), `you said ${text}`);
      return true;
    }, null, "message");
    connection.connect(`${user}@localhost/strophe`, password, (status) => {
      if (status === Strophe.Status.CONNECTED) {
        connection.send($pres());
        say(peer, `hello from ${connection.jid}`);
      }
      if (status === Strophe.Status.DISCONNECTED) window.ended();
      if (status === Strophe.Status.AUTHFAIL) console.log("the login failed");
    });
  }
}

async function converse(page) {
  await page.addStyleTag({ url: "/converse.js/dist/converse.min.css" });
  await page.addScriptTag({ url: "/converse.js/dist/converse.min.js", type: "module" });
  await page.evaluate(run, service, user, password, peer);

  function run(service, user, password, peer) {
    const { converse } = window;
    converse.plugins.add("interop", {
      initialize() {
        const { _converse } = this;
        const { api } = _converse;
        const { $msg } = converse.env;
        const say = (to, body) => api.send($msg({ to, type: "chat" }).c("body").t(body));
        api.listen.on("message", ({ stanza }) => {
          const text = stanza.querySelector("body")?.textContent;
          if (text === "stop") api.user.logout();
          else if (text) say(stanza.getAttribute("from"), `you said ${text}`);
        });
        api.listen.on("connected", () => {
          say(peer, `hello from ${api.connection.get().jid}`);
        });
        api.listen.on("logout", () => window.ended());
      },
    });
    const way = service.startsWith("ws") ? { websocket_url: service } : { bosh_service_url: service };
    return converse.initialize({
      ...way,
      authentication: "login",
      auto_login: true,
      jid: `${user}@localhost/converse`,
      password,
      discover_connection_methods: false,
      enable_smacks: false,
      allow_non_roster_messaging: true,
      assets_path: "/converse.js/dist/",
      view_mode: "embedded",
      show_background: false,
      loglevel: "warn",
      whitelisted_plugins: ["interop"],
    });
  }
}
