// The dashboard in Chromium.
//
//   node dashboard.mjs NODE_MODULES URL USERNAME PASSWORD EVENTS FOLDER SHOWN KICKED
//
// Signs in, says "live" when figures move, watches so many EVENTS (one a second), leaves pictures in FOLDER, finds SHOWN
// among the sessions, ends KICKED and says "kicked" when the page says so.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [modules, url, username, password, events, folder, shown, kicked] = process.argv.slice(2);
const require = createRequire(`${modules}/`);
const puppeteer = (await import(pathToFileURL(require.resolve("puppeteer-core")))).default;

const browser = await puppeteer.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
});
let failed = false;
try {
  const page = await browser.newPage();
  const complaints = [];
  const strangers = [];
  page.on("console", (message) => {
    console.log(`console ${message.text()}`);
    // The answers 401, 403 and 429 of the login are said there too.
    if (message.type() === "error" && !/status of 4(01|03|29)/.test(message.text())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("request", (request) => {
    if (!request.url().startsWith(url)) strangers.push(request.url());
  });
  await page.setViewport({ width: 1280, height: 800 });
  await theme(page, "light");
  await page.goto(url);
  const text = (id) => page.$eval(`#${id}`, (element) => element.textContent);
  const until = (condition, ...given) => page.waitForFunction(condition, { timeout: 20_000, polling: 50 }, ...given);

  await page.waitForSelector("#login button", { visible: true });
  await page.screenshot({ path: `${folder}/dashboard-login.png` });
  await signIn(page, "wrong");
  await until(() => document.querySelector("#refusal").textContent.includes("wrong"));
  console.log("refused");
  // The server looks at no other password for a while, and the page says so until it does.
  await signIn(page, password);
  await until(() => document.querySelector("#refusal").textContent.includes("Wait a moment"));
  console.log("paused");
  while (await page.$eval("#house", (house) => house.hidden)) {
    const answered = page.waitForResponse((answer) => answer.url().endsWith("/login"));
    await page.click("#login button");
    if ((await answered).ok()) await page.waitForSelector("#house", { visible: true });
    else await page.waitForSelector("#login button:enabled");
  }
  await until(() => document.querySelector("#state").textContent === "live");
  await until(() => Number(document.querySelector("#messages").textContent.replaceAll(",", "")) > 0);
  const before = await text("delivered");
  await until((before) => document.querySelector("#delivered").textContent !== before, before);
  console.log("live");
  // The page's own list of what the charts show.
  for (let seen = 1; seen <= events; seen += 1) await until((seen) => history.length > seen, seen);
  const legend = await page.$eval("#chart-connections .legend", (legend) => legend.textContent);
  if (legend.includes(".")) throw new Error(`connections are whole: ${legend}`);

  await picture(page, "dashboard-light");
  await theme(page, "dark");
  await picture(page, "dashboard-dark");
  // Without isMobile: that would load the page anew, with empty charts.
  await page.setViewport({ width: 390, height: 844, deviceScaleFactor: 1.5 });
  await until((width) => document.querySelector("#chart-messages svg").clientWidth < width, 400);
  await theme(page, "light");
  await picture(page, "dashboard-phone");
  const wider = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  if (wider) throw new Error("the page is wider than the phone");

  await page.setViewport({ width: 1280, height: 800 });
  await page.type("#search", shown);
  await until((jid) => {
    const rows = [...document.querySelectorAll("#people tr")];
    return rows.length === 1 && rows[0].textContent.includes(jid);
  }, shown);
  console.log("found");
  await page.$eval("#search", (input) => { input.value = ""; });
  await page.type("#search", kicked);
  await until((jid) => document.querySelectorAll("#people tr").length === 1 && document.querySelector("#people").textContent.includes(jid), kicked);
  await page.evaluate(() => {
    // Both clicks before the list is made anew.
    const button = document.querySelector("#people button");
    button.click();
    button.click();
  });
  await until(() => document.querySelector("#people-note").textContent.startsWith("Nobody"));
  console.log("kicked");
  await page.click("#logout");
  await page.waitForSelector("#login button", { visible: true });
  const left = await page.evaluate(async () => (await fetch("session")).status);
  if (left !== 401) throw new Error(`signed out, and the session is still answered: ${left}`);
  if (complaints.length > 0) throw new Error(`the page complains: ${complaints.join("; ")}`);
  if (strangers.length > 0) throw new Error(`the page asks elsewhere: ${strangers.join(" ")}`);
} catch (error) {
  console.error(error);
  failed = true;
} finally {
  await browser.close();
}
process.exit(failed ? 1 : 0);

async function theme(page, value) {
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value }]);
}

async function picture(page, name) {
  await page.evaluate(() => scrollTo(0, 0));
  await page.screenshot({ path: `${folder}/${name}.png`, fullPage: true });
}

async function signIn(page, password) {
  for (const [name, value] of [["username", username], ["password", password]]) {
    await page.$eval(`#login [name=${name}]`, (input) => { input.value = ""; });
    await page.type(`#login [name=${name}]`, value);
  }
  await page.click("#login button");
}
