"use strict";
// What the dashboard shows: events of the server once a second, sessions when asked for. Nothing is
// fetched from anywhere but the folder of the page, and texts of the server are never read as HTML.

const SECONDS = 120; // what a chart shows
const SESSIONS_EVERY_MS = 5000;
const SEARCH_PAUSE_MS = 250;
const SURE_MS = 4000;
const RETRY_MS = 3000;
const HUES = 8;
const CERTIFICATE_SOON_DAYS = 30;
const CERTIFICATE_LATE_DAYS = 7;

const REASONS = {
  finished: "Ended in order",
  peer_closed: "Closed by the peer",
  failed: "Connection broke",
  replaced: "Replaced by a new session",
  slow_reader: "Did not read",
  stream_error: "Stream error",
  fault: "Fault of the server",
  timeout: "Took too long",
  tls_failed: "TLS failed",
  address_limit: "Limit of the address",
  bad_proxy_header: "Bad PROXY header",
  bad_request: "Bad HTTP request",
  shutdown: "Server stopped",
  kicked: "Ended by an administrator",
};

const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const calm = matchMedia("(prefers-reduced-motion: reduce)");
let token = "";
let source = null;
let before = null;
let retry = 0;
let listTimer = 0;
const history = [];

function make(tag, content, className) {
  const element = document.createElement(tag);
  if (content !== undefined) element.append(content);
  if (className) element.className = className;
  return element;
}

function draw(tag, attributes, parent) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  parent.append(element);
  return element;
}

function count(value) {
  if (value >= 1e6) return `${(value / 1e6).toFixed(value >= 1e7 ? 1 : 2)} M`;
  return Math.round(value).toLocaleString("en");
}

function rate(value) {
  return value > 0 && value < 10 ? value.toFixed(1) : count(value);
}

// Of things: a half is on the scale of a chart only.
function whole(value) {
  return Number.isInteger(value) ? count(value) : value.toFixed(1);
}

function span(seconds) {
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
}

function bytes(value) {
  if (value < 1024) return `${value} B`;
  return value < 1048576 ? `${(value / 1024).toFixed(1)} KiB` : `${(value / 1048576).toFixed(1)} MiB`;
}

const sum = (values) => values.reduce((all, value) => all + value, 0);

// ---- asking ----

async function ask(name, body) {
  const options = body === undefined ? {} : {
    method: "POST",
    headers: { "content-type": "application/json", "x-meerkat-token": token },
    body: JSON.stringify(body),
  };
  return fetch(name, { credentials: "same-origin", cache: "no-store", ...options });
}

async function enter() {
  clearTimeout(retry);
  let answer;
  try {
    answer = await ask("session");
  } catch {
    return wait();
  }
  if (answer.status === 401) return leave();
  if (!answer.ok) return wait();
  const session = await answer.json();
  token = session.token;
  $("version").textContent = session.version;
  $("door").hidden = true;
  $("house").hidden = false;
  listen();
  list();
}

function leave() {
  source?.close();
  source = null;
  token = "";
  clearTimeout(listTimer);
  $("house").hidden = true;
  $("door").hidden = false;
  $("login").elements.username.focus();
}

function wait() {
  if (!$("house").hidden) state("gone", "the server does not answer");
  else if ($("door").hidden) $("door").hidden = false;
  clearTimeout(retry);
  retry = setTimeout(enter, RETRY_MS);
}

function state(kind, text) {
  $("state").className = `state ${kind}`;
  $("state").textContent = text;
}

function listen() {
  source?.close();
  source = new EventSource("events");
  source.onmessage = (event) => {
    state("live", "live");
    show(JSON.parse(event.data));
  };
  source.onerror = () => {
    source.close();
    wait();
  };
}

$("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  const fields = event.target.elements;
  const button = event.target.querySelector("button");
  button.disabled = true;
  $("refusal").textContent = "";
  try {
    const answer = await ask("login", { username: fields.username.value, password: fields.password.value });
    if (answer.ok) {
      fields.password.value = "";
      await enter();
    } else if (answer.status === 429) {
      $("refusal").textContent = "Wait a moment after a wrong password, then try again.";
    } else {
      $("refusal").textContent = "Name or password is wrong.";
    }
  } catch {
    $("refusal").textContent = "The server does not answer.";
  }
  button.disabled = false;
});

$("logout").addEventListener("click", async () => {
  await ask("logout", {}).catch(() => {});
  leave();
});

// ---- figures ----

function show(now) {
  const seconds = before ? (now.now_ms - before.now_ms) / 1000 : 0;
  if (before && (seconds <= 0 || now.uptime_s < before.uptime_s || now.shards.length !== before.shards.length)) {
    before = null;
    history.length = 0;
  }
  const rates = (name) => now.shards.map((shard, at) => {
    const old = before?.shards[at];
    return old && seconds > 0 ? Math.max(0, (shard[name] - old[name]) / seconds) : 0;
  });
  const moment = {
    connections: now.shards.map((shard) => shard.connections),
    messages: rates("messages"),
    accepts: rates("accepted"),
  };
  if (before) history.push(moment);
  if (history.length > SECONDS + 1) history.shift();

  const ends = {};
  for (const shard of now.shards) {
    for (const [reason, number] of Object.entries(shard.ends)) ends[reason] = (ends[reason] ?? 0) + number;
  }
  $("uptime").textContent = `up ${span(now.uptime_s)}`;
  $("connections").textContent = count(sum(moment.connections));
  $("connections-more").textContent = `on ${now.shards.length} ${now.shards.length === 1 ? "core" : "cores"}`;
  $("sessions").textContent = count(now.sessions);
  $("users").textContent = `of ${count(now.users)} ${now.users === 1 ? "user" : "users"}`;
  $("accepts").textContent = rate(sum(moment.accepts));
  $("accepted").textContent = `${count(sum(now.shards.map((shard) => shard.accepted)))} so far`;
  $("messages").textContent = rate(sum(moment.messages));
  $("delivered").textContent = `${count(sum(now.shards.map((shard) => shard.messages)))} so far`;
  $("slow").textContent = count(ends.slow_reader ?? 0);
  $("slow").className = ends.slow_reader ? "warn" : "";
  $("slow-more").textContent = "since the start";
  certificates(now.listeners);
  listeners(now, seconds);
  reasons(ends);
  for (const chart of charts) chart.show(history);
  before = now;
}

function urgency(days) {
  if (days === null || days > CERTIFICATE_SOON_DAYS) return "";
  return days <= CERTIFICATE_LATE_DAYS ? "alarm" : "warn";
}

function certificates(all) {
  const dated = all.filter((listener) => listener.certificate_days !== null);
  const first = dated.sort((a, b) => a.certificate_days - b.certificate_days)[0];
  $("certificate").textContent = first ? `${count(first.certificate_days)} d` : "none";
  $("certificate").className = first ? urgency(first.certificate_days) : "";
  $("certificate-more").textContent = first ? "until the first expires" : "no listener has TLS";
}

function listeners(now, seconds) {
  const rows = now.listeners.map((listener, at) => {
    const row = make("tr");
    const name = make("td", listener.path);
    name.append(make("small", listener.address));
    const use = make("td", undefined, "use");
    const limit = listener.connections_max;
    use.append(count(listener.connections), limit === null ? "" : ` of ${count(limit)}`);
    if (limit === null) {
      use.append(make("small", "no limit"));
    } else {
      const part = Math.min(1, listener.connections / limit);
      const track = make("span", make("span"), part >= 0.9 ? "track full" : "track");
      track.firstChild.style.width = `${part * 100}%`;
      use.append(track);
    }
    const old = before?.listeners[at];
    const speed = old && seconds > 0 ? Math.max(0, (listener.accepted - old.accepted) / seconds) : 0;
    const days = listener.certificate_days;
    row.append(name, use, make("td", rate(speed), "number"));
    row.append(make("td", days === null ? "–" : `${count(days)} d`, `number ${urgency(days)}`));
    return row;
  });
  $("listeners").replaceChildren(...rows);
}

function reasons(ends) {
  const all = Object.entries(ends).filter(([, number]) => number > 0).sort((a, b) => b[1] - a[1]);
  const most = all.length > 0 ? all[0][1] : 1;
  const rows = all.map(([reason, number]) => {
    const row = make("li");
    const line = make("div", REASONS[reason] ?? reason.replaceAll("_", " "));
    line.append(make("b", count(number)));
    const track = make("span", make("span"), "track");
    track.firstChild.style.width = `${(number / most) * 100}%`;
    row.append(line, track);
    return row;
  });
  $("ends").replaceChildren(...(rows.length > 0 ? rows : [make("li", make("small", "None has ended yet."))]));
}

// ---- charts ----

class Chart {
  constructor(id, name, write) {
    this.figure = $(id);
    this.legend = this.figure.querySelector(".legend");
    this.name = name;
    this.write = write;
    this.svg = draw("svg", { role: "img", "aria-label": this.figure.querySelector("h2").textContent }, this.figure);
    this.at = null;
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerleave", () => this.point(null));
  }

  point(event) {
    this.at = event ? (event.clientX - this.svg.getBoundingClientRect().left) : null;
    this.paint();
  }

  show(moments) {
    this.rows = moments.map((moment) => moment[this.name]);
    this.paint();
    if (this.moving && !calm.matches && this.rows.length > 1) {
      const shift = `translateX(${this.step}px)`;
      this.moving.animate([{ transform: shift }, { transform: "none" }], { duration: 1000, easing: "linear" });
    }
  }

  paint() {
    const rows = this.rows;
    if (!rows || rows.length === 0) return;
    const width = this.svg.clientWidth || 600;
    const height = this.svg.clientHeight || 150;
    const left = 44;
    const bottom = 18;
    const top = 6;
    const cores = rows[rows.length - 1].length;
    // Many cores are one curve, which is what a person can read.
    const merged = cores > HUES;
    const series = merged ? [rows.map(sum)] : Array.from({ length: cores }, (_, core) => rows.map((row) => row[core]));
    const peak = ceiling(Math.max(...series.flat(), 1));
    this.step = (width - left) / SECONDS;
    const x = (at) => width - (rows.length - 1 - at) * this.step;
    const y = (value) => top + (height - top - bottom) * (1 - value / peak);

    this.svg.replaceChildren();
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    for (const part of [0, 0.5, 1]) {
      const line = y(peak * part);
      draw("line", { class: "grid", x1: left, x2: width, y1: line, y2: line }, this.svg);
      const label = draw("text", { x: left - 8, y: line + 4, "text-anchor": "end" }, this.svg);
      label.textContent = this.write(peak * part);
    }
    for (const [ago, text] of [[SECONDS, "2 min ago"], [SECONDS / 2, "1 min"], [0, "now"]]) {
      const anchor = ago === SECONDS ? "start" : ago === 0 ? "end" : "middle";
      draw("text", { x: width - ago * this.step, y: height - 3, "text-anchor": anchor }, this.svg).textContent = text;
    }
    const clip = `clip-${this.name}`;
    draw("rect", { x: left, y: 0, width: width - left, height }, draw("clipPath", { id: clip }, draw("defs", {}, this.svg)));
    this.moving = draw("g", {}, draw("g", { "clip-path": `url(#${clip})` }, this.svg));
    series.forEach((values, at) => {
      const path = curve(values.map((value, place) => [x(place), y(value)]));
      const end = `L${x(values.length - 1)},${y(0)}L${x(0)},${y(0)}Z`;
      draw("path", { class: `area c${at}`, d: path + end }, this.moving);
    });
    series.forEach((values, at) => {
      const path = curve(values.map((value, place) => [x(place), y(value)]));
      draw("path", { class: `curve c${at}`, d: path }, this.moving);
    });
    let place = rows.length - 1;
    if (this.at !== null && this.at > left) {
      place = Math.max(0, Math.min(place, Math.round(rows.length - 1 - (width - this.at) / this.step)));
      draw("line", { class: "cursor", x1: x(place), x2: x(place), y1: top, y2: height - bottom }, this.svg);
    }
    this.explain(series, place, merged, cores);
  }

  explain(series, place, merged, cores) {
    const parts = series.map((values, at) => {
      const part = make("span");
      part.append(make("i", undefined, `c${at}`));
      part.append(merged ? (cores === 1 ? "1 core " : `${cores} cores `) : `core ${at} `, make("b", this.write(values[place] ?? 0)));
      return part;
    });
    this.legend.replaceChildren(...parts);
  }
}

// A quiet curve through the points that never goes beyond them.
function curve(points) {
  let path = "";
  points.forEach(([x, y], at) => {
    if (at === 0) path += `M${x.toFixed(1)},${y.toFixed(1)}`;
    else {
      const [px, py] = points[at - 1];
      const middle = ((px + x) / 2).toFixed(1);
      path += `C${middle},${py.toFixed(1)} ${middle},${y.toFixed(1)} ${x.toFixed(1)},${y.toFixed(1)}`;
    }
  });
  return path;
}

function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  for (const step of [1, 2, 4, 5, 10]) {
    if (value <= step * power) return step * power;
  }
  return value;
}

const charts = [
  new Chart("chart-connections", "connections", whole),
  new Chart("chart-messages", "messages", rate),
  new Chart("chart-accepts", "accepts", rate),
];
addEventListener("resize", () => charts.forEach((chart) => chart.paint()));

// ---- sessions ----

let asked = 0;

async function list() {
  clearTimeout(listTimer);
  const number = ++asked;
  try {
    const answer = await ask("sessions", { text: $("search").value.trim() });
    if (answer.status === 401) return leave();
    if (answer.ok && number === asked) people(await answer.json());
  } catch {
    // The events say that the server is gone.
  }
  if (number === asked && !$("house").hidden) listTimer = setTimeout(list, SESSIONS_EVERY_MS);
}

function people(found) {
  // A question that waits for its answer is not taken away.
  if (document.querySelector("#people .sure")) return;
  const rows = found.sessions.map((session) => {
    const row = make("tr");
    const way = `${session.transport}${session.tls ? " with TLS" : ""}`;
    const who = make("td", session.jid);
    who.append(make("small", session.priority === null ? "not available" : `priority ${session.priority}`));
    const from = make("td", session.peer);
    const by = make("td", way);
    by.append(make("small", `core ${session.shard}`));
    const since = make("td", span(session.age_s), "number minor");
    const idle = make("td", span(session.idle_s), "number");
    idle.dataset.name = "idle";
    const waiting = make("td", bytes(session.outbound), "number minor");
    const kick = make("button", "Kick");
    kick.type = "button";
    kick.addEventListener("click", () => press(kick, session.jid));
    row.append(who, from, by, since, idle, waiting, make("td", kick));
    return row;
  });
  $("people").replaceChildren(...rows);
  const more = found.left_out > 0 ? `${count(found.left_out)} more: search to see them.` : "";
  $("people-note").textContent = rows.length > 0 ? more : "Nobody with such an address is here.";
}

function press(button, jid) {
  if (!button.classList.contains("sure")) {
    button.classList.add("sure");
    button.textContent = "Sure?";
    setTimeout(() => {
      button.classList.remove("sure");
      if (!button.disabled) button.textContent = "Kick";
    }, SURE_MS);
    return;
  }
  button.classList.remove("sure");
  button.disabled = true;
  kick(button, jid);
}

async function kick(button, jid) {
  try {
    const answer = await ask("kick", { text: jid });
    if (answer.status === 401) return leave();
    button.textContent = answer.ok ? "Gone" : answer.status === 404 ? "Had gone" : "Failed";
  } catch {
    button.textContent = "Failed";
  }
  clearTimeout(listTimer);
  listTimer = setTimeout(list, SEARCH_PAUSE_MS);
}

$("search").addEventListener("input", () => {
  clearTimeout(listTimer);
  listTimer = setTimeout(list, SEARCH_PAUSE_MS);
});

enter();
