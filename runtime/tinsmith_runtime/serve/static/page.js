// The page of `tinsmith serve`: shows what the API answers. It keeps and sends nothing else.
const $ = (id) => document.getElementById(id);
const paper = $("paper"), pen = paper.getContext("2d");
const picture = $("picture"), boxes = $("boxes");
const show = (node, yes) => { node.hidden = !yes; };
let model, output, latest = 0;

async function ask(path, body, type) {
  const options = { method: body === undefined ? "GET" : "POST", body };
  if (type) options.headers = { "Content-Type": type };
  const response = await fetch(path, options);
  const said = await response.json();
  if (!response.ok) throw new Error(said.error);
  return said;
}

// ---- the answer
function fail(error) {
  $("best").className = "error";
  $("best").textContent = error instanceof TypeError ? "The board does not answer." : error.message;
  $("bars").replaceChildren();
  $("facts").textContent = "";
  show($("values"), false);
  drawBoxes([]);
}

function tell(answer) {
  const result = answer.results[0];
  const found = result.predictions || result.detections;
  $("best").className = "";
  $("facts").textContent = `${answer.latency_ms.toFixed(1)} ms on ${answer.engine}`;
  show($("values"), !found);
  if (found) {
    const text = result.predictions && output.activation === "none"
      ? (value) => value.toFixed(2) : (value) => (100 * value).toFixed(1) + "%";
    const best = found[0];
    $("best").textContent = best ? `${best.label}, ${text(best.probability)}` : "Nothing found";
    const values = found.map((one) => one.probability);
    const low = Math.min(0, ...values), high = Math.max(1, ...values);
    $("bars").replaceChildren(...found.map((one) => bar(
      one.label, (one.probability - low) / (high - low), text(one.probability))));
  } else {
    const named = result.outputs || { values: result.values };
    $("best").textContent = Object.entries(named)
      .map(([name, values]) => `${[values].flat(9).length} ${name}`).join(", ");
    $("bars").replaceChildren();
    $("values").textContent = JSON.stringify(result.outputs || result.values, null, 1);
  }
  drawBoxes(result.detections || []);
}

function bar(label, share, text) {
  const row = document.createElement("li");
  row.innerHTML = '<span></span><div class="bar" aria-hidden="true"><div></div></div><span></span>';
  const [name, outer, number] = row.children;
  name.textContent = label;
  outer.firstChild.style.width = `${100 * share}%`;
  number.textContent = text;
  return row;
}

// Boxes are in pixels of what was sent, which stands in the middle of the stage.
function drawBoxes(found) {
  const ratio = devicePixelRatio || 1;
  boxes.width = boxes.clientWidth * ratio;
  boxes.height = boxes.clientHeight * ratio;
  const [width, height] = paper.hidden
    ? [picture.naturalWidth, picture.naturalHeight] : [paper.width, paper.height];
  if (!width) return;
  const scale = Math.min(boxes.width / width, boxes.height / height), over = boxes.getContext("2d");
  over.translate((boxes.width - width * scale) / 2, (boxes.height - height * scale) / 2);
  over.lineWidth = 3 * ratio;
  over.font = `600 ${14 * ratio}px system-ui, sans-serif`;
  for (const { box, label, probability } of found.toReversed()) {  // the surest on top
    const [left, top, right, bottom] = box.map((side) => side * scale);
    const name = `${label} ${Math.round(100 * probability)}%`, line = 20 * ratio;
    const wide = over.measureText(name).width + 8 * ratio;
    // The name stands above its box, but within the stage.
    const x = Math.max(0, Math.min(left, width * scale - wide)), y = Math.max(0, top - line);
    over.strokeStyle = over.fillStyle = "#0b5cad";
    over.strokeRect(left, top, right - left, bottom - top);
    over.fillRect(x, y, wide, line);
    over.fillStyle = "#fff";
    over.fillText(name, x + 4 * ratio, y + 15 * ratio);
  }
}

// Of answers that overtake each other, the newest question's counts.
async function predict(body, type, mine = ++latest) {
  try {
    const answer = await ask("v1/predict", body, type);
    if (mine === latest) tell(answer);
  } catch (error) {
    if (mine === latest) fail(error);
  }
}

// ---- pictures
function look(source) {
  picture.src = source;
  show(picture, true);
  show(paper, false);
  show($("empty"), false);
}

async function send(file) {
  const mine = ++latest;
  stopCamera();
  URL.revokeObjectURL(picture.src);
  look(URL.createObjectURL(file));
  try {
    await picture.decode();
    // The board reads PNG and JPEG; what else the browser reads becomes a PNG here.
    const body = /^image\/(png|jpeg)$/.test(file.type) ? file : await asPng(file);
    predict(body, "image/png", mine);
  } catch {
    if (mine === latest) fail(new Error("This file is no picture that the browser can read."));
  }
}

async function asPng(file) {
  const bitmap = await createImageBitmap(file), canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

function takeFiles() {
  for (const id of ["file", "photo"]) {
    $(id).addEventListener("change", (event) => {
      if (event.target.files[0]) send(event.target.files[0]);
      event.target.value = "";
    });
  }
  // Beside the stage a dropped file would take the page's place.
  for (const kind of ["dragover", "dragleave", "drop"]) {
    addEventListener(kind, (event) => {
      event.preventDefault();
      $("stage").className = kind === "dragover" ? "over" : "";
      if (kind === "drop" && event.dataTransfer.files[0]) send(event.dataTransfer.files[0]);
    });
  }
}

// ---- the board's camera
let watching = null;
function stopCamera() {
  watching = null;
  $("camera").setAttribute("aria-pressed", "false");
  $("best").setAttribute("aria-live", "polite");
}

async function watch() {
  if (watching) return stopCamera();
  const me = watching = {};
  $("camera").setAttribute("aria-pressed", "true");
  $("best").setAttribute("aria-live", "off");  // ten times a second is too much to be read out
  while (watching === me) {
    const mine = ++latest;
    try {
      const answer = await ask("v1/camera", "");
      if (mine !== latest || watching !== me) return;
      look(answer.image);
      await picture.decode();
      tell(answer);
    } catch (error) {
      if (watching !== me) return;
      stopCamera();
      fail(error);
    }
    await new Promise((done) => setTimeout(done, 100));
  }
}

// ---- drawing
function blank() {
  stopCamera();
  latest++;
  pen.fillStyle = model.manifest.inputs[0].preprocessing?.invert ? "#fff" : "#000";
  pen.fillRect(0, 0, paper.width, paper.height);
  show(paper, true);
  show(picture, false);
  show($("empty"), false);
  $("best").textContent = "–";
  $("best").className = "";
  $("facts").textContent = "";
  $("bars").replaceChildren();
  drawBoxes([]);
}

function line(from, to) {
  pen.strokeStyle = model.manifest.inputs[0].preprocessing?.invert ? "#000" : "#fff";
  pen.lineWidth = Math.min(paper.width, paper.height) / 11;
  pen.lineCap = pen.lineJoin = "round";
  pen.beginPath();
  pen.moveTo(...from);
  pen.lineTo(...to);
  pen.stroke();
}

function judge() {
  const mine = ++latest;
  paper.toBlob((blob) => predict(blob, "image/png", mine), "image/png");
}

function draw(input) {
  const [, height, width] = input.shape, size = 336 / Math.max(width, height);
  [paper.width, paper.height] = [Math.round(width * size), Math.round(height * size)];
  paper.style[width < height ? "height" : "width"] = "100%";
  let last = null;
  const place = (event) => {
    const box = paper.getBoundingClientRect();
    return [(event.clientX - box.left) * paper.width / box.width,
            (event.clientY - box.top) * paper.height / box.height];
  };
  paper.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    paper.setPointerCapture(event.pointerId);
    last = place(event);
    line(last, last);
  });
  paper.addEventListener("pointermove", (event) => {
    if (!last) return;
    for (const one of event.getCoalescedEvents?.() ?? [event]) {
      const next = place(one);
      line(last, next);
      last = next;
    }
  });
  const end = () => { if (last) judge(); last = null; };
  paper.addEventListener("pointerup", end);
  paper.addEventListener("pointercancel", end);

  let at = [paper.width / 2, paper.height / 4], down = false;
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  paper.addEventListener("keydown", (event) => {
    const move = moves[event.key], step = paper.width / 16;
    if (event.key === " ") down = !down;
    else if (event.key === "Delete") blank();
    else if (!move) return;
    event.preventDefault();
    const next = move ? at.map((value, axis) => Math.min(Math.max(
      value + move[axis] * step, step), [paper.width, paper.height][axis] - step)) : at;
    if (down) { line(at, next); judge(); }
    at = next;
  });
  $("clear").addEventListener("click", blank);
  for (const node of [$("clear"), $("hint")]) show(node, true);
  blank();
}

// ---- models of numbers
function takeNumbers(inputs) {
  const sample = (input) => input.shape.slice(1).reduceRight(
    (inner, size) => Array(size).fill(inner), 0);
  const one = inputs.length === 1;
  const all = one ? sample(inputs[0])
    : Object.fromEntries(inputs.map((input) => [input.name, sample(input)]));
  $("shape").textContent = inputs.map((input) =>
    `${one ? "" : input.name + " "}${input.shape.slice(1).join(" × ")} ${input.dtype}`).join(", ");
  $("instance").value = JSON.stringify(all);
  $("numbers").addEventListener("submit", (event) => {
    event.preventDefault();
    predict(`{"instances": [${$("instance").value}]}`, "application/json");
  });
  show($("numbers"), true);
}

async function start() {
  model = await ask("v1/model");
  const { inputs, outputs } = model.manifest, input = inputs[0];
  output = outputs[0];
  $("name").textContent = document.title = model.name;
  const labels = (model.manifest.boxes || output).labels;
  const classes = labels.length ? `, ${labels.length} classes` : "";
  $("about").textContent = inputs.map((one) => `${one.kind} ${one.shape.slice(1).join(" × ")}`)
    .join(" and ") + `${classes}, on ${model.engine}`;
  const channels = input.shape.at(-1);
  if (inputs.length > 1 || input.kind !== "image" || ![1, 3, 4].includes(channels)) {
    return takeNumbers(inputs);
  }
  show($("images"), true);
  takeFiles();
  show($("camera"), model.camera);
  $("camera").addEventListener("click", watch);
  if (channels === 1 && Math.max(input.shape[1], input.shape[2]) <= 64) draw(input);
}

start().catch(fail);
