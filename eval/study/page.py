"""How does a study look to the people who judge? One page that needs nothing but a browser.

It holds pictures, captions and numbered questions: no name of a run. Answers stay in the browser until they
are downloaded as one JSON file.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from io import BytesIO

import numpy as np
from PIL import Image

from eval import pages
from eval.runs.report import Run
from eval.runs.store import read_picture
from eval.study.questions import TEXTS, Question
from unicon.data.photos import at_longer_side

LARGEST_PX = 512
LOSSLESS_PX = 256
"""Up to this side pictures are PNG; larger ones JPEG of quality 95, on both sides alike."""
GRID_CELL_PX = 128
STYLE = """
body{max-width:70rem;text-align:center}
#sides{display:flex;gap:24px;justify-content:center;flex-wrap:wrap}
#sides button{padding:8px;border:2px solid #ddd;background:#fff;border-radius:6px;cursor:pointer}
#sides button.chosen{border-color:#2563a8}
#sides img{width:min(44vw,480px);height:auto;image-rendering:auto;display:block;background:none}
#sides span{display:block;margin-top:6px;color:#555}
#caption{min-height:1.5em;font-size:1.1rem;margin:.6rem}
.bar{height:6px;background:#e3e3e3;margin:1rem 0}.bar div{height:6px;background:#2563a8;width:0}
.row{margin:1rem 0}.row button,.row input{font:inherit;padding:6px 14px;margin:0 4px}
"""
# Plain JavaScript, so that the page runs from a file, anywhere.
SCRIPT = """
const study = JSON.parse(document.getElementById('study').textContent);
const place = 'unicon-study-' + study.id;
const empty = {judge: Math.random().toString(36).slice(2, 10), votes: {}};
let kept = empty;
try { kept = JSON.parse(localStorage.getItem(place)) || empty; } catch (error) { kept = empty; }
const named = id => document.getElementById(id);
let now = study.questions.findIndex((_, n) => !(n in kept.votes));
if (now < 0) now = 0;
function keep() { try { localStorage.setItem(place, JSON.stringify(kept)); } catch (error) {} }
function show() {
  const one = study.questions[now], done = Object.keys(kept.votes).length;
  named('text').textContent = study.texts[one.kind];
  named('caption').textContent = one.caption ? '\\u201c' + one.caption + '\\u201d' : '';
  named('left').src = one.left; named('right').src = one.right;
  for (const side of ['left', 'right', 'tie'])
    named('choose-' + side).classList.toggle('chosen', kept.votes[now] === side);
  const num = study.questions.length;
  named('count').textContent = 'Question ' + (now + 1) + ' of ' + num + ', ' + done + ' answered';
  named('done').style.width = 100 * done / num + '%';
  named('end').textContent = done === num ? 'All answered. Please download your votes.' : '';
}
function move(by) { now = Math.min(Math.max(now + by, 0), study.questions.length - 1); show(); }
function vote(answer) { kept.votes[now] = answer; keep(); move(1); show(); }
for (const side of ['left', 'right', 'tie']) named('choose-' + side).onclick = () => vote(side);
named('back').onclick = () => move(-1); named('next').onclick = () => move(1);
named('judge').value = kept.judge;
named('judge').oninput = () => { kept.judge = named('judge').value.trim() || empty.judge; keep(); };
document.onkeydown = event => {
  if (event.target.tagName === 'INPUT') return;
  const answer = {ArrowLeft: 'left', ArrowRight: 'right', ArrowDown: 'tie'}[event.key];
  if (answer) { event.preventDefault(); vote(answer); }
};
named('download').onclick = () => {
  const votes = Object.entries(kept.votes).map(([n, answer]) => ({question: Number(n), answer}));
  const text = JSON.stringify({study: study.id, judge: kept.judge, votes}, null, 1);
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], {type: 'application/json'}));
  link.download = 'votes-' + study.id + '-' + kept.judge.replace(/[^\\w-]+/g, '_') + '.json';
  link.click();
};
show();
"""
BODY = """
<h1 id="text"></h1><div id="caption"></div>
<div id="sides"><button id="choose-left"><img id="left" alt="left"><span>left (&larr;)</span></button>
<button id="choose-right"><img id="right" alt="right"><span>right (&rarr;)</span></button></div>
<div class="row"><button id="choose-tie">cannot tell (&darr;)</button></div>
<div class="bar"><div id="done"></div></div><p id="count"></p>
<div class="row"><button id="back">back</button><button id="next">next</button></div>
<div class="row">your name or a code: <input id="judge" size="12">
<button id="download">download votes</button></div>
<p id="end"></p><p class="small">Answers are kept in this browser. Nothing is sent: hand in the file.</p>
"""


def as_html(identity: str, asked: Sequence[Question], first: Run, second: Run) -> str:
    """The page; reads the pictures of both runs."""
    shown = []
    for question in asked:
        sides = [_drawn(run, question) for run in (first, second)]
        left, right = sides if question.first_is_left else sides[::-1]
        shown.append({"kind": question.kind, "caption": question.caption, "left": left, "right": right})
    data = json.dumps({"id": identity, "texts": TEXTS, "questions": shown}, ensure_ascii=False)
    # "</" or "<!--" in a caption would end the script's element, or hide its end.
    data = data.replace("<", "\\u003c")
    parts = [
        BODY,
        f'<script type="application/json" id="study">{data}</script>',
        f"<script>{SCRIPT}</script>",
    ]
    return pages.page("Which is better?", parts, style=STYLE)


def _drawn(run: Run, question: Question) -> str:
    pictures = [
        Image.fromarray(read_picture(run.answer(question.task, seed, run.items[place]["stem"])))
        for place, seed in question.shown
    ]
    return _uri(pictures[0] if len(pictures) == 1 else _grid(pictures))


def _grid(pictures: Sequence[Image.Image]) -> Image.Image:
    side = round(len(pictures) ** 0.5)
    cells = [_square(picture) for picture in pictures]
    rows = [np.concatenate(cells[n * side : (n + 1) * side], axis=1) for n in range(side)]
    return Image.fromarray(np.concatenate(rows, axis=0))


def _square(picture: Image.Image) -> np.ndarray:
    """In the middle of a square cell, whole."""
    cell = Image.new("RGB", (GRID_CELL_PX, GRID_CELL_PX), "white")
    shown = at_longer_side(picture, GRID_CELL_PX)
    cell.paste(shown, ((GRID_CELL_PX - shown.width) // 2, (GRID_CELL_PX - shown.height) // 2))
    return np.asarray(cell)


def _uri(picture: Image.Image) -> str:
    """As text, without anything that a file might say about its origin."""
    if max(picture.size) > LOSSLESS_PX:
        shown = picture.copy()
        shown.thumbnail((LARGEST_PX, LARGEST_PX), Image.Resampling.LANCZOS)
        return pages.data_uri(shown, quality=95)
    buffer = BytesIO()
    picture.convert("RGB").save(buffer, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
