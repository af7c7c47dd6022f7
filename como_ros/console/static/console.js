// The operator's page: shows what the console says, and says what the operator does. No libraries.
"use strict";

const BEAT_MS = 50;
const MOVES = [["w", "forward"], ["a", "left"], ["e", "up"], ["j", "turn left"], ["i", "tip up"], ["u", "roll left"],
  ["s", "back"], ["d", "right"], ["q", "down"], ["l", "turn right"], ["k", "tip down"], ["o", "roll right"]];
const MOVE_KEYS = new Set(MOVES.map(([key]) => key));

const wsOrigin = location.origin.replace(/^http/, "ws");
const $ = id => document.getElementById(id);
const view = Array.from(crypto.getRandomValues(new Uint8Array(16)), byte => byte.toString(16).padStart(2, "0")).join("");
const keys = new Set();
const holders = new Set(); // what holds the deadman: the space bar, a pointer on the button, pointers on pads
let wire = null, you = 0, state = {}, toldNumber = 0, beating = null;

// The wire --------------------------------------------------------------------------------------

function connect() {
  wire = new WebSocket(wsOrigin + "/wire");
  wire.onopen = () => send({view}); // the 3-D view in this page goes by that name
  wire.binaryType = "arraybuffer";
  wire.onmessage = event => typeof event.data === "string" ? hear(JSON.parse(event.data)) : see(event.data);
  wire.onclose = () => {
    letGo();
    document.body.classList.add("lost");
    show({supervisor: "", why: "the console does not answer", lights: [], episodes: state.episodes || []});
    setTimeout(connect, 1000);
  };
}

function send(told) {
  // what waits here would arrive late; a deadman said late is worse than one not said, a stop is better late
  const stops = told.hold === false || told.press === "stop";
  if (wire && wire.readyState === WebSocket.OPEN && (stops || wire.bufferedAmount < 4096)) wire.send(JSON.stringify(told));
}

function hear(told) {
  if (told.you) you = told.you;
  else show(told);
}

function see(data) {
  const image = $("camera" + new Uint8Array(data, 0, 1)[0]);
  if (!image) return;
  URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(new Blob([new Uint8Array(data, 1)], {type: "image/jpeg"}));
}

// Showing ---------------------------------------------------------------------------------------

function element(tag, text, className) {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

function put(list, key, items) {
  // rebuilt only where something changed, so that nothing flickers under a finger
  const now = JSON.stringify(key);
  if (list.dataset.now === now) return;
  list.dataset.now = now;
  list.replaceChildren(...items());
}

function show(now) {
  state = now;
  const recording = (now.recorder || "").startsWith("recording"), where = now.supervisor || "no console";
  $("supervisor").textContent = where;
  $("supervisor").title = now.why || "";
  $("supervisor").className = "chip " + where;
  $("recorder").textContent = recording ? recordingText(now) : (now.recorder || "no recorder").split(";")[0];
  $("recorder").className = "chip" + (recording ? " recording" : "");
  $("disk").textContent = now.disk_gb === undefined ? "" : now.disk_gb.toFixed(1) + " GB left";
  document.body.classList.toggle("watching", !now.device);
  $("scene").style.visibility = "visible";
  $("start").disabled = recording;
  for (const id of ["success", "failure", "keep", "discard"]) $(id).disabled = !recording;
  $("rearm").disabled = where !== "stopped";
  $("home").disabled = where !== "ready";
  $("policy").disabled = where !== "ready" && where !== "teleop";
  showHold(where, now);
  if (document.activeElement !== $("say") && now.instruction) $("say").value = now.instruction;
  put($("history"), now.history, () => (now.history || []).map(words => new Option(words)));
  put($("lights"), now.lights, () => (now.lights || []).map(light));
  put($("episodes"), (now.episodes || []).map(e => [e.name, e.outcome]), () => episodes(now.episodes || []));
  if (now.told && now.told.n !== toldNumber) tell(now.told);
}

function recordingText(now) {
  const name = now.recorder.split(";")[0].replace("recording ", "");
  return "● " + name.replace("episode_", "") + " " + Math.round(now.seconds || 0) + " s";
}

function showHold(where, now) {
  const mine = holders.size > 0, other = now.holder && now.holder !== you;
  $("hold").className = other || (mine && where !== "teleop") ? "vain" : mine ? "held" : "";
  const hints = {
    stopped: (now.why || "").replace(/^stopped: /, "Stopped: ") + (mine ? ". Let go, re-arm, hold again."
      : ". Re-arm, then hold to drive."),
    ready: "Ready: hold, and " + ({ gizmo: "drag the gizmo or press a pad.", guiding: "lead the arm by hand." }[now.device] || "press a pad."),
    teleop: mine ? "Driving. Letting go stops the arm." : "Driven by hand.",
    policy: "The policy drives; hold to take over.",
  };
  $("hint").textContent = other ? "Somebody else holds the deadman." : hints[where] || now.why || "";
}

function light(row) {
  const made = element("li", "", row.level);
  made.append(element("b", row.name), element("span", row.text));
  return made;
}

function episodes(rows) {
  if (!rows.length) return [element("li", "none yet", "none")];
  return rows.map(row => {
    const made = element("li", ""), words = element("div", "");
    if (row.thumb) {
      const image = element("img", "");
      image.src = "data:image/jpeg;base64," + row.thumb;
      made.append(image);
    }
    words.append(element("b", row.name.replace("episode_", "#")), " " + (row.outcome || ""));
    words.append(element("small", [row.seconds && row.seconds.toFixed(1) + " s", row.instruction]
      .filter(Boolean).join(" · ")));
    words.append(element("small", row.ok ? "healthy" : row.problems.join("; "), row.ok ? "well" : "ill"));
    made.append(words);
    return made;
  });
}

function tell(told) {
  toldNumber = told.n;
  $("told").textContent = told.text;
  $("told").className = told.ok ? "ok" : "";
  $("told").hidden = !told.text;
  clearTimeout(tell.timer);
  tell.timer = setTimeout(() => { $("told").hidden = true; }, told.ok ? 2500 : 8000);
}

// The deadman -----------------------------------------------------------------------------------

function beat() {
  send({hold: true, keys: [...keys], at: performance.now() / 1000});
}

function take(holder) {
  holders.add(holder);
  if (beating === null) beating = setInterval(beat, BEAT_MS);
  beat();
  showHold(state.supervisor, state);
}

function release(holder) {
  if (!holders.delete(holder)) return;
  if (holders.size) beat();
  else letGo();
}

function letGo() {
  holders.clear();
  keys.clear();
  clearInterval(beating);
  beating = null;
  send({hold: false});
  for (const pad of document.querySelectorAll("#pads .held")) pad.classList.remove("held");
  showHold(state.supervisor, state);
}

function holdable(button, onDown, onUp) {
  button.addEventListener("pointerdown", event => {
    button.setPointerCapture(event.pointerId);
    onDown();
    take("pointer" + event.pointerId);
    event.preventDefault();
  });
  for (const kind of ["pointerup", "pointercancel", "lostpointercapture"]) {
    button.addEventListener(kind, event => { onUp(); release("pointer" + event.pointerId); });
  }
  button.addEventListener("contextmenu", event => event.preventDefault());
}

for (const [key, name] of MOVES) {
  const pad = element("button", name);
  pad.title = "key " + key.toUpperCase();
  holdable(pad, () => { keys.add(key); pad.classList.add("held"); },
    () => { keys.delete(key); pad.classList.remove("held"); });
  $("pads").append(pad);
}
holdable($("hold"), () => {}, () => {});

function onKey(event) {
  const key = event.key.toLowerCase(), down = event.type === "keydown", typing = document.activeElement === $("say");
  if (key === "escape" && down) { send({press: "stop"}); letGo(); }
  else if (!down && event.code === "Space" && holders.has("space")) release("space"); // wherever it is let go
  else if (!down && keys.has(key)) { keys.delete(key); if (holders.size) beat(); }
  else if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  else if (key === " ") { if (down && !event.repeat) take("space"); }
  else if (MOVE_KEYS.has(key)) { if (down) { keys.add(key); if (holders.size) beat(); } }
  else if (key === "r" && down && !event.repeat) send({press: "rearm"});
  else if (key === "g" && down && !event.repeat) send({grip: "toggle"});
  else return;
  event.preventDefault();
  event.stopImmediatePropagation();
}

function listenTo(target) {
  for (const kind of ["keydown", "keyup"]) target.addEventListener(kind, onKey, true);
  target.addEventListener("blur", () => setTimeout(() => { if (!document.hasFocus()) letGo(); }, 0));
}

listenTo(window);
$("say").addEventListener("focus", letGo);
document.addEventListener("visibilitychange", () => { if (document.hidden) letGo(); });

// The 3-D view lends its keys to this page and shows no buttons of its own.
$("scene").addEventListener("load", () => {
  const inner = $("scene").contentWindow, style = inner.document.createElement("style");
  style.textContent = ".floating-panel, .mantine-Notifications-root, .mantine-Paper-root { display: none !important; }";
  inner.document.head.append(style);
  listenTo(inner);
});
$("scene").src = "scene/?fixedDpr=1&websocket=" + encodeURIComponent(`${wsOrigin}/scene?view=${view}`);

// Buttons ---------------------------------------------------------------------------------------

for (const button of document.querySelectorAll("[data-press]")) {
  const kind = button.id === "stop" ? "pointerdown" : "click";
  button.addEventListener(kind, () => send({press: button.dataset.press}));
}
$("stop").addEventListener("pointerdown", letGo);
for (const button of document.querySelectorAll("[data-grip]")) {
  button.addEventListener("click", () => send({grip: button.dataset.grip}));
}
$("words").addEventListener("submit", event => {
  event.preventDefault();
  send({say: $("say").value});
  $("say").blur();
});

connect();
