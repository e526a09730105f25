"use strict";
// Shows what /data.json returns, once a second. Names come from the run: all of them are
// set as text, never as markup.
const $ = (id) => document.getElementById(id);
const make = (name, text, cls) => {
  const node = document.createElement(name);
  if (text !== undefined && text !== null) node.textContent = text;
  if (cls) node.className = cls;
  return node;
};
const svg = (name, attributes) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
};
const number = (value, digits = 0) =>
  value === null || value === undefined ? "" :
    value.toLocaleString("en-US", { maximumFractionDigits: digits });
const duration = (seconds) => {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 0) return `-${duration(-seconds)}`;
  const whole = Math.round(seconds);
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h ? `${h} h ${m} min` : m ? `${m} min ${s} s` : `${s} s`;
};

function figures(data) {
  const rows = [
    ["done", `${number(data.completed)}${data.expected ? ` of ${number(data.expected)}` : ""}`],
    ["in flight", number(data.in_flight)],
    ["running", number(data.running)],
    ["time left", data.state === "finished" ? "" : duration(data.eta_s)],
    ["elapsed", duration(data.elapsed_s)],
    ["samples/s", number(data.samples_per_s, 2)],
    ["tokens/s", number(data.tokens_per_s)],
    ["replicas lost", data.fences ? number(data.fences) : "", "bad"],
  ];
  for (const one of data.latencies)
    rows.push([
      `${one.name} p50 / p99${one.limit_ms ? ` (limit p${number(one.percentile, 1)} ${number(one.limit_ms)} ms)` : ""}`,
      `${number(one.p50, 1)} / ${number(one.p99, 1)} ms`,
      one.holds === null ? "" : one.holds ? "good" : "bad",
    ], [`${one.name} within the limit, all samples`, one.share === null ? "" : `${number(100 * one.share, 2)}%`]);
  $("figures").replaceChildren(...rows.filter(([, value]) => value).map(([name, value, cls]) => {
    const box = make("div");
    box.append(make("dt", name), make("dd", value, cls));
    return box;
  }));
  $("share").style.width = `${100 * (data.state === "finished" ? 1 : data.progress || 0)}%`;
}

function chart(title, t, lines, bound) {
  const [width, height, left, bottom] = [400, 130, 46, 18];
  const shown = lines.filter((line) => line.y.some((v) => v !== null));
  if (!shown.length || t.length < 2) return null;
  const most = Math.max(...shown.flatMap((line) => line.y.map((v) => v || 0)));
  // A limit far above all values would flatten them.
  const limit = bound && bound < 4 * most ? bound : null;
  const high = Math.max(limit || 0, ...shown.flatMap((line) => line.y.map((v) => v || 0))) * 1.05 || 1;
  const [first, last] = [t[0], t[t.length - 1]];
  const x = (v) => left + (width - left - 6) * (v - first) / (last - first);
  const y = (v) => 8 + (height - bottom - 8) * (1 - v / high);
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img" });
  const text = (px, py, value, anchor) => {
    const node = svg("text", { x: px, y: py, "text-anchor": anchor });
    node.textContent = value;
    picture.append(node);
  };
  picture.append(svg("line", { class: "axis", x1: left, x2: width - 6, y1: y(0), y2: y(0) }));
  text(left - 4, y(0), "0", "end");
  text(left - 4, 16, number(high / 1.05, high < 10 ? 2 : 0), "end");
  text(left, height - 4, duration(first), "start");
  text(width - 6, height - 4, duration(last), "end");
  if (limit) picture.append(svg("line", { class: "limit", x1: left, x2: width - 6, y1: y(limit), y2: y(limit) }));
  shown.forEach((line, index) => {
    let path = "", gap = true;
    line.y.forEach((value, place) => {
      if (value === null) { gap = true; return; }
      path += `${gap ? "M" : "L"}${x(t[place]).toFixed(1)} ${y(value).toFixed(1)}`;
      gap = false;
    });
    picture.append(svg("path", { d: path, class: index ? "second" : "first" }));
  });
  const figure = make("figure");
  figure.append(make("figcaption", title), picture);
  return figure;
}

function charts(data) {
  const s = data.series;
  const ttft = data.latencies.find((one) => one.name === "TTFT");
  $("charts").replaceChildren(...[
    chart("answers/s", s.t, [{ y: s.completed }]),
    chart("output tokens/s", s.t, [{ y: s.tokens }]),
    chart("requests running, and waiting in engines (dashed)", s.t, [{ y: s.running }, { y: s.waiting }]),
    chart("longest TTFT, s", s.t, [{ y: s.ttft }], ttft && ttft.limit_ms ? ttft.limit_ms / 1000 : null),
  ].filter(Boolean));
}

function table(node, heads, rows) {
  const head = make("tr");
  head.append(...heads.map(([name, kind]) => make("th", name, kind)));
  node.replaceChildren(head, ...rows.map((cells) => {
    const row = make("tr", null, cells.bad ? "bad" : "");
    row.append(...cells.values.map((value, place) => make("td", value, heads[place][1])));
    return row;
  }));
}

function show(data) {
  document.title = `${data.progress ? `${Math.round(100 * data.progress)}% ` : ""}${data.run}`;
  $("run").textContent = data.run;
  $("about").textContent = data.about + (data.outcome ? `: ${data.outcome}` : "");
  $("about").dataset.state = data.state;
  figures(data);
  charts(data);
  table($("replicas"),
    [["replica", "text"], ["state", "text"], ["sent", ""], ["answered", ""], ["in flight", ""], ["running", ""], ["waiting", ""], ["KV cache", ""], ["tokens/s", ""]],
    data.replicas.map((one) => ({
      bad: ["fenced", "lost"].includes(one.state),
      values: [one.name, one.phase, ...[one.sent, one.finished, one.outstanding, one.running].map((v) => number(v)),
        number(one.waiting), one.kv_used === null ? "" : `${number(100 * one.kv_used)}%`, number(one.tokens_per_s)],
    })));
  table($("events"), [["time", "text"], ["event", "text"], ["where", "text"], ["samples", ""], ["cause", "text"]],
    data.events.map((one) => ({ bad: ["fence", "death", "abort"].includes(one.kind),
      values: [duration(one.t_s), one.kind, one.where, one.samples, one.cause] })));
  $("events").hidden = !data.events.length;
  $("calm").hidden = Boolean(data.events.length);
  $("campaign").hidden = !data.campaign;
  if (data.campaign) {
    $("campaign").querySelector("h2").textContent = `Campaign ${data.campaign.kind}: ${data.campaign.status}`
      + (data.campaign_left_s === null ? "" : `, about ${duration(data.campaign_left_s)} left`);
    table($("campaign").querySelector("table"),
      [["run", "text"], ["replicas", ""], ["rate, queries/s", ""], ["seconds", ""], ["result", "text"]],
      data.campaign.runs.map((one) => ({ bad: !one.counts,
        values: [one.run, number(one.replicas), number(one.rate, 3), number(one.seconds), one.counts ? "counts" : one.reason] })));
  }
}

async function look() {
  try {
    const answer = await fetch("data.json", { cache: "no-store" });
    if (!answer.ok) throw new Error(answer.status);
    show(await answer.json());
    $("stale").hidden = true;
  } catch {
    $("stale").hidden = false;
  }
  setTimeout(look, 1000);
}
look();
