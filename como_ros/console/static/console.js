// The operator's page: shows what the console says, and says what the operator does. No libraries.
"use strict";

const BEAT_MS = 50, DRAW_MS = 50;
const MOVES = [["w", "forward"], ["a", "left"], ["e", "up"], ["j", "turn left"], ["i", "tip up"], ["u", "roll left"],
  ["s", "back"], ["d", "right"], ["q", "down"], ["l", "turn right"], ["k", "tip down"], ["o", "roll right"]];
const CAMERAS = [...document.querySelectorAll("#cameras figcaption")].map(caption => caption.textContent);
const LOW_GB = 5;
const MOVE_KEYS = new Set(MOVES.map(([key]) => key));

const wsOrigin = location.origin.replace(/^http/, "ws");
const $ = id => document.getElementById(id);
const view = Array.from(crypto.getRandomValues(new Uint8Array(16)), byte => byte.toString(16).padStart(2, "0")).join("");
const keys = new Set();
const holders = new Set(); // what holds the deadman: the space bar, a pointer on the button, pointers on pads
let wire = null, you = 0, state = {}, toldNumber = null, beating = null;
let spoken = "", heard = "", edited = false; // what stands, what the console said last, whether the field is ours

// The wire --------------------------------------------------------------------------------------

function connect() {
  wire = new WebSocket(wsOrigin + "/wire");
  wire.onopen = () => {
    document.body.classList.remove("lost");
    send({view}); // the 3-D view in this page goes by that name
  };
  wire.binaryType = "arraybuffer";
  wire.onmessage = event => typeof event.data === "string" ? hear(JSON.parse(event.data)) : see(event.data);
  wire.onclose = () => {
    letGo();
    document.body.classList.add("lost");
    show({...state, supervisor: "", why: "The console does not answer.", recorder: "", lights: [], told: null});
    setTimeout(connect, 1000);
  };
}

function send(told) {
  // what waits here would arrive late; a deadman said late is worse than one not said, a stop is better late
  const always = told.hold === false || told.press === "stop" || "seen" in told;
  const open = wire && wire.readyState === WebSocket.OPEN;
  const goes = open && (always || wire.bufferedAmount < 4096);
  if (goes) wire.send(JSON.stringify(told));
  else if (told.press || told.say) banner("The console does not answer: " + (told.press || "that") + " was not heard."
    + (told.press === "stop" ? " Use the robot's own stop." : ""), false);
  return goes;
}

function hear(told) {
  if (told.you) you = told.you;
  else show(told);
}

function see(data) {
  // the console sends a camera's next picture once this one is shown
  const index = new Uint8Array(data, 0, 1)[0], image = $("camera" + index);
  if (!image) return;
  URL.revokeObjectURL(image.src);
  image.onload = image.onerror = () => send({seen: index});
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
  const said = now.recorder || "", recording = said.startsWith("recording"), failed = said.startsWith("failed");
  const open = recording || (failed && typeof now.seconds === "number"); // until somebody ends it
  const where = now.supervisor || "no console";
  $("supervisor").textContent = where;
  $("supervisor").title = now.why || "";
  $("supervisor").className = "chip " + where;
  $("recorder").textContent = recording ? recordingText(now) : (said || "no recorder").split(";")[0];
  $("recorder").title = said;
  $("recorder").className = "chip" + (recording ? " recording" : failed ? " failed" : "");
  $("disk").textContent = typeof now.disk_gb === "number" ? now.disk_gb.toFixed(1) + " GB left" : "";
  $("disk").classList.toggle("low", typeof now.disk_gb === "number" && now.disk_gb < LOW_GB);
  document.body.classList.toggle("watching", !now.device);
  document.body.classList.toggle("unpushed", now.device === "gello" || now.device === "guiding");
  $("start").disabled = recording;
  for (const id of ["success", "failure", "keep", "discard"]) $(id).disabled = !open;
  $("rearm").disabled = where !== "stopped";
  $("home").disabled = where !== "ready";
  $("policy").disabled = where !== "ready" && where !== "teleop";
  showHold(where, now);
  showWords(now);
  put($("lights"), now.lights, () => (now.lights || []).map(light));
  (now.lights || []).forEach(showCamera);
  put($("episodes"), (now.episodes || []).map(({thumb, ...row}) => row), () => episodes(now.episodes || []));
  if (now.told && toldNumber !== null && now.told.n !== toldNumber) banner(now.told.text, now.told.ok);
  if (now.told) toldNumber = now.told.n; // what was told before this page came is over
}

function showWords(now) {
  // what has been written here stays until it is said, whatever others say meanwhile
  if (now.instruction && now.instruction !== heard) heard = spoken = now.instruction;
  if (!edited && document.activeElement !== $("say")) $("say").value = spoken;
  $("words").classList.toggle("unsaid", edited && words() !== spoken);
  put($("history"), now.history, () => [new Option("", ""), ...(now.history || []).map(words => new Option(words))]);
}

function words() {
  return $("say").value.trim().replace(/\s+/g, " ");
}

function edit(text) {
  if (text) $("say").value = text;
  edited = words() !== "" && words() !== spoken;
  showWords(state);
}

function showCamera(row) {
  const index = CAMERAS.findIndex(name => row.name === name + " camera");
  if (index < 0) return;
  const figure = $("camera" + index).parentElement, ill = row.level !== "ok";
  figure.classList.toggle("ill", ill);
  figure.querySelector("figcaption").textContent = CAMERAS[index] + (ill ? ": " + row.text : "");
}

function recordingText(now) {
  const name = now.recorder.split(";")[0].replace("recording ", "");
  return "● " + name.replace("episode_", "") + " " + Math.round(now.seconds || 0) + " s";
}

function showHold(where, now) {
  const mine = holders.size > 0, other = now.holder && now.holder !== you;
  $("hold").className = other || (mine && where !== "teleop") ? "vain" : mine ? "held" : "";
  const ways = {gizmo: "drag the gizmo or press a pad.", keyboard: "press a pad or its key.",
    guiding: "lead the arm by hand.", gello: "move the leader arm."};
  const hints = {
    stopped: (now.why || "").replace(/^stopped: /, "Stopped: ") + (mine ? ". Let go, re-arm, hold again."
      : now.device ? ". Re-arm, then hold to drive." : ". Re-arm to go on."),
    ready: now.device ? "Ready: hold, and " + ways[now.device] : "Ready.",
    teleop: mine ? "Driving. Letting go stops the arm." : "Driven by hand.",
    policy: "The policy drives" + (now.device ? "; hold to take over." : "."),
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
    const health = row.ok === null ? element("small", "being looked at")
      : element("small", row.ok ? "healthy" : row.problems.join("; "), row.ok ? "well" : "ill");
    health.title = health.textContent;
    words.append(health);
    made.append(words);
    return made;
  });
}

function banner(text, ok) {
  $("told").textContent = text;
  $("told").className = ok ? "ok" : "";
  $("told").hidden = !text;
  clearTimeout(banner.timer);
  banner.timer = setTimeout(() => { $("told").hidden = true; }, ok ? 2500 : 8000);
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
  const key = event.key.toLowerCase(), down = event.type === "keydown";
  const typing = [$("say"), $("history")].includes(document.activeElement);
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
  drawSeldom(inner);
  listenTo(inner);
});
// No finer than the screen, and no finer than this page either: without a GPU every pixel of it costs.
$("scene").src = `scene/?fixedDpr=${Math.min(1, devicePixelRatio)}&websocket=`
  + encodeURIComponent(`${wsOrigin}/scene?view=${view}`);

function drawSeldom(inner) {
  // Left to itself it draws as often as the screen does; the arm is told ten times a second. Where drawing is slow,
  // as without a GPU, the deadman must not wait: a frame rests for twice as long as the last ones took to come.
  const draw = inner.requestAnimationFrame.bind(inner);
  let took = 0;
  inner.requestAnimationFrame = act => inner.setTimeout(() => {
    const asked = performance.now();
    draw(now => {
      took += 0.3 * (performance.now() - asked - took);
      act(now);
    });
  }, Math.max(DRAW_MS, 2 * took));
  inner.cancelAnimationFrame = inner.clearTimeout.bind(inner);
}

// Buttons ---------------------------------------------------------------------------------------

for (const button of document.querySelectorAll("[data-press]")) {
  button.addEventListener("click", () => send({press: button.dataset.press}));
}
$("stop").addEventListener("pointerdown", () => { send({press: "stop"}); letGo(); }); // a finger that stays down as well
for (const button of document.querySelectorAll("[data-grip]")) {
  button.addEventListener("click", () => send({grip: button.dataset.grip}));
}
$("history").addEventListener("change", () => {
  edit($("history").value);
  $("history").value = "";
  $("history").blur(); // the keys drive again
});
$("say").addEventListener("input", () => edit());
$("words").addEventListener("submit", event => {
  event.preventDefault();
  if (words() && send({say: words()})) {
    spoken = words();
    edited = false;
  }
  $("say").blur();
});

connect();
