(function () {
  "use strict";
  var holder = document.getElementById("live-timeline");
  var source = document.getElementById("timeline-data");
  if (!holder || !source || typeof uPlot === "undefined") return;
  var data = JSON.parse(source.textContent);
  var page = getComputedStyle(document.documentElement);
  var still = document.getElementById("still-timeline");
  var chosen = [], plots = [], range = null, moving = false;
  var MOST = 7;

  function element(tag, text, parent, type) {
    var made = document.createElement(tag);
    if (text) made.textContent = text;
    if (type) made.className = type;
    if (parent) parent.appendChild(made);
    return made;
  }

  function unpack(packed, place) {
    var bytes = atob(packed.rows[place]), found = [];
    for (var i = 0; i + 1 < bytes.length; i += 2) {
      var whole = bytes.charCodeAt(i) | (bytes.charCodeAt(i + 1) << 8);
      found.push(whole === 0xffff ? null : packed.low + (packed.high - packed.low) * whole / 0xfffe);
    }
    return found;
  }

  // A replica's values stand in the middle of the bins that they are the mean of.
  function spread(values) {
    if (data.step === 1) return values;
    var found = new Array(data.bins).fill(null);
    values.forEach(function (value, i) {
      found[Math.min(data.bins - 1, i * data.step + (data.step >> 1))] = value;
    });
    return found;
  }

  function number(value) {
    if (value === null || value === undefined) return "–";
    var size = Math.abs(value);
    if (size < 0.005) return "0";
    return value.toLocaleString("en-US", { maximumFractionDigits: size >= 100 ? 0 : size >= 10 ? 1 : 2 });
  }

  function seconds(value) { return value === null || value === undefined ? "–" : number(value) + " s"; }
  function color(name) { return page.getPropertyValue(name).trim(); }

  function shade(plot) {
    var area = plot.bbox, draw = plot.ctx;
    draw.save();
    draw.beginPath();
    draw.rect(area.left, area.top, area.width, area.height);
    draw.clip();
    data.spans.forEach(function (span) {
      var left = plot.valToPos(span.begin, "x", true), right = plot.valToPos(span.end, "x", true);
      draw.globalAlpha = 0.16;
      draw.fillStyle = color(span.burst ? "--s4" : "--s2");
      draw.fillRect(left, area.top, Math.max(1, right - left), area.height);
    });
    draw.globalAlpha = 1;
    var limit = data.panels[plot.panel].limit;
    if (limit !== null) {
      var y = plot.valToPos(limit, "y", true);
      draw.strokeStyle = color("--soft");
      draw.setLineDash([4, 4]);
      draw.beginPath();
      draw.moveTo(area.left, y);
      draw.lineTo(area.left + area.width, y);
      draw.stroke();
    }
    draw.restore();
  }

  function zoom(from, to) {
    moving = true;
    plots.forEach(function (plot) { plot.setScale("x", { min: from, max: to }); });
    moving = false;
    range = from <= 0 && to >= data.bins * data.width ? null : [from, to];
    holder.dataset.from = from;
    holder.dataset.to = to;
    out.disabled = range === null;
  }

  function whole() { zoom(0, data.bins * data.width); }

  function make(panel, index, width) {
    var x = [];
    for (var i = 0; i < data.bins; i++) x.push((i + 0.5) * data.width);
    var lines = [x], series = [{ label: "time", value: function (plot, value) { return seconds(value); } }];
    function add(label, values, stroke, thick, joined) {
      lines.push(values);
      series.push({
        label: label, stroke: color(stroke), width: thick, spanGaps: joined,
        points: { show: false }, value: function (plot, value) { return number(value); }
      });
    }
    panel.names.forEach(function (name, i) {
      add(name, unpack(panel.curves, i), "--s" + (i % 7 + 1), 1.5, false);
    });
    chosen.forEach(function (replica, i) {
      add(data.replicas[replica] + ", " + panel.each, spread(unpack(panel.rows, replica)),
        "--s" + ((i + panel.names.length) % 7 + 1), 1, data.step > 1);
    });
    var axis = { stroke: color("--soft"), grid: { stroke: color("--line"), width: 1 }, ticks: { stroke: color("--line"), width: 1 } };
    var last = index === data.panels.length - 1;
    element("h4", panel.label + (panel.limit === null ? "" : " (dashed: " + panel.limitName + ")"), holder);
    var box = element("div", "", holder, "panel");
    var plot = new uPlot({
      width: width, height: last ? 165 : 150, series: series,
      scales: { x: { time: false }, y: { range: function (plot, low, high) {
        if (low === null || high === null) return [0, 1];
        if (low > 0.6 * high) { var room = 0.1 * Math.max(high - low, 0.01 * high); return [low - room, high + room]; }
        return [Math.min(0, low), high + 0.08 * (high - Math.min(0, low)) || 1];
      } } },
      axes: [
        Object.assign({ values: function (plot, ticks) { return ticks.map(number); }, label: last ? "seconds since the first arrival" : undefined, labelSize: 18, size: 30 }, axis),
        Object.assign({ values: function (plot, ticks) { return ticks.map(number); }, size: 66 }, axis)
      ],
      cursor: { sync: { key: "timeline" }, drag: { x: true, y: false }, y: false },
      hooks: {
        init: [function (plot) { plot.panel = index; }],
        drawClear: [shade],
        setScale: [function (plot, key) {
          if (key === "x" && !moving && plots.length === data.panels.length) zoom(plot.scales.x.min, plot.scales.x.max);
        }]
      }
    }, lines, box);
    plot.over.addEventListener("dblclick", whole);
    return plot;
  }

  function build() {
    plots.forEach(function (plot) { plot.destroy(); });
    plots = [];
    holder.querySelectorAll("h4, .panel").forEach(function (old) { old.remove(); });
    var width = Math.max(260, Math.floor(holder.clientWidth));
    var made = data.panels.map(function (panel, index) { return make(panel, index, width); });
    plots = made;
    if (range) zoom(range[0], range[1]); else whole();
    holder.dataset.replicas = chosen.join(",");
  }

  function choose(replica, on) {
    chosen = chosen.filter(function (other) { return other !== replica; });
    if (on) chosen.push(replica);
    if (chosen.length > MOST) {
      var dropped = chosen.shift(), box = boxes[dropped];
      if (box) box.checked = false;
    }
    build();
  }

  holder.hidden = false;
  if (still) still.classList.add("replaced");
  var bar = element("div", "", holder, "controls");
  var out = element("button", "Whole run", bar);
  out.type = "button";
  out.addEventListener("click", whole);
  data.spans.slice(0, 12).forEach(function (span) {
    var button = element("button", span.words + ", " + number(span.begin) + " to " + seconds(span.end), bar);
    button.type = "button";
    button.addEventListener("click", function () {
      var room = Math.max(5, span.end - span.begin);
      zoom(Math.max(0, span.begin - room), Math.min(data.bins * data.width, span.end + room));
    });
  });
  element("span", "Drag to zoom, double-click to see the whole run.", bar, "soft");
  var boxes = {};
  if (data.replicas.length > 1) {
    var fold = element("details", "", holder, "choice");
    element("summary", "Replicas (" + MOST + " at most)", fold);
    var list = element("div", "", fold, "list");
    data.replicas.forEach(function (name, replica) {
      var label = element("label", "", list), box = element("input", "", label);
      box.type = "checkbox";
      box.addEventListener("change", function () { choose(replica, box.checked); });
      element("span", name + " on " + data.hosts[replica], label);
      boxes[replica] = box;
    });
    if (data.replicas.length <= 16) fold.open = true;
  }

  // An address may name a span and replicas: #timeline?from=10&to=40&replicas=1,3
  var asked = new URLSearchParams(location.hash.split("?")[1] || "");
  (asked.get("replicas") || "").split(",").forEach(function (text) {
    var replica = parseInt(text, 10);
    if (boxes[replica] && chosen.length < MOST) { boxes[replica].checked = true; chosen.push(replica); }
  });
  var from = parseFloat(asked.get("from")), to = parseFloat(asked.get("to"));
  if (from < to) range = [from, to];
  build();
  var last = holder.clientWidth;
  addEventListener("resize", function () {
    if (holder.clientWidth && holder.clientWidth !== last) { last = holder.clientWidth; build(); }
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", build);
})();
