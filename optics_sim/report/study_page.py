"""The page a study participant sees, as a template: no network but the study's own server, no answers in it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from html import escape

SESSION_MARK = "/*SESSION*/null"

TEMPLATE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline';
 script-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'">
<title>@TITLE@</title><style>
:root{color-scheme:light dark;--ink:#1d2129;--paper:#fff;--faint:#5a6270;--line:#c9cfd8;--card:#f5f6f8;--accent:#1b5e9b}
@media(prefers-color-scheme:dark){:root{--ink:#e4e7ec;--paper:#14171c;--faint:#a0a8b5;--line:#3d4450;--card:#1d2128;
--accent:#7db7ee}}
*{box-sizing:border-box}body{margin:0 auto;padding:20px;max-width:860px;background:var(--paper);color:var(--ink);
font:17px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,Arial,sans-serif}h1{font-size:1.4rem;margin:0 0 6px}
p{margin:6px 0;color:var(--faint)}.pair{display:grid;grid-template-columns:1fr 1fr;gap:16px;margin:16px 0}
.pair img{width:100%;max-height:60vh;object-fit:contain;image-rendering:pixelated;background:#808080;
border:1px solid var(--line);border-radius:4px}.answers{display:grid;grid-template-columns:repeat(3,1fr);gap:10px}
button{font:inherit;padding:12px 8px;border:1px solid var(--line);border-radius:6px;background:var(--card);color:var(--ink);
cursor:pointer}button:focus-visible{outline:3px solid var(--accent)}button:disabled{opacity:.5;cursor:wait}
kbd{font-size:.8em;border:1px solid var(--line);border-radius:3px;padding:0 5px;margin-left:6px;color:var(--faint)}
progress{width:100%;height:8px;accent-color:var(--accent)}#trouble{color:#c0392b;min-height:1.5em}[hidden]{display:none!important}
</style></head><body>
<h1>@TITLE@</h1><p>@TEXT@</p>
<progress id="bar" value="0" max="1" aria-label="progress"></progress><p id="count" aria-live="polite"></p>
<main id="asking"><div class="pair"><img id="left" alt="first picture of the pair">
<img id="right" alt="second picture of the pair">
</div><div class="answers"><button data-answer="same">same<kbd>S</kbd></button>
<button data-answer="different">different<kbd>D</kbd></button><button data-answer="unsure">unsure<kbd>U</kbd></button>
</div></main>
<div id="done" hidden><p><strong>That was the last pair. Thank you.</strong></p></div>
<p id="trouble" role="alert"></p><p><button id="save">Download the answers so far</button></p>
<noscript>This page needs JavaScript; it loads nothing from anywhere.</noscript>
<script type="application/json" id="study">@DATA@</script>
<script>
"use strict";
const study = JSON.parse(document.getElementById("study").textContent);
const session = /*SESSION*/null;
const person = session ? session.person : "1";
const store = "privcam-study-" + study.digest + "-" + person;
const find = (id) => document.getElementById(id);
let answers = [], shown = 0, busy = false, current = null;
try { answers = JSON.parse(localStorage.getItem(store) || "[]"); } catch (error) { answers = []; }
const known = new Set(study.pairs.map((pair) => pair.id));
answers = answers.filter((answer) => known.has(answer.id));
const answered = () => new Set(session ? session.answered : answers.map((answer) => answer.id));
function show() {
  const done = answered(), total = study.pairs.length;
  current = study.pairs.find((pair) => !done.has(pair.id)) || null;
  find("bar").max = total; find("bar").value = done.size;
  find("count").textContent = current ? "Pair " + (done.size + 1) + " of " + total : total + " of " + total + " answered";
  find("asking").hidden = !current; find("done").hidden = !!current;
  if (current) {
    find("left").src = "data:image/png;base64," + current.a;
    find("right").src = "data:image/png;base64," + current.b;
    shown = performance.now();
  }
}
async function give(answer) {
  if (busy || !current) return;
  busy = true;
  const entry = {id: current.id, answer: answer, seconds: Math.round(performance.now() - shown) / 1000};
  try {
    if (session) {
      const reply = await fetch("answer", {method: "POST", body: JSON.stringify({person: person, ...entry}),
        headers: {"Content-Type": "application/json", "X-Study-Token": session.token}});
      if (!reply.ok && reply.status !== 409) throw new Error("the server answered " + reply.status);
      session.answered.push(entry.id);
    }
    answers.push(entry);
    try { localStorage.setItem(store, JSON.stringify(answers)); }
    catch (error) { find("trouble").textContent = "This browser keeps nothing: download the answers before you close it."; }
    if (session) find("trouble").textContent = "";
    show();
  } catch (error) {
    find("trouble").textContent = "Not kept (" + error.message + "). Is the study still being served? Please answer again.";
  }
  busy = false;
}
for (const button of document.querySelectorAll("[data-answer]"))
  button.addEventListener("click", () => give(button.dataset.answer));
document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  const answer = {s: "same", d: "different", u: "unsure"}[event.key.toLowerCase()];
  if (answer) give(answer);
});
find("save").addEventListener("click", () => {
  const file = new Blob([JSON.stringify({study: study.digest, person: person, answers: answers}, null, 1)],
    {type: "application/json"});
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file); link.download = "answers-" + person + ".json"; link.click();
  URL.revokeObjectURL(link.href);
});
show();
</script></body></html>
"""


def study_html(title: str, text: str, digest: str, pairs: Sequence[Mapping[str, str]]) -> str:
    """Returns the page; `pairs` are {id, a, b} with base64 PNGs, in the order they are shown."""
    data = script_json({"digest": digest, "pairs": list(pairs)})
    parts = {"@TITLE@": escape(title), "@TEXT@": escape(text), "@DATA@": data}
    return re.sub("@(TITLE|TEXT|DATA)@", lambda mark: parts[mark[0]], TEMPLATE)


def with_session(page: str, session: Mapping[str, object]) -> str:
    """Returns the page for one served visit: token, person, and what this person has answered already."""
    before, _, after = page.rpartition(SESSION_MARK)  # the last: a title may hold the same words
    return before + script_json(session) + after


def script_json(value: object) -> str:
    """Returns JSON that cannot end the script element it stands in."""
    return json.dumps(value, sort_keys=True).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
