"""Can people recognise anybody in what the sensor records? A page of pairs, and the score of the answers.

A study folder holds `index.html` (pictures only), `key.json` (which pairs are the same person; never served),
`answers.jsonl` (served answers) and any downloaded `answers-*.json` put beside them.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from optics_sim.design import write_atomically
from optics_sim.errors import PrivcamError
from optics_sim.measure import Measure, Source
from optics_sim.report.intervals import Interval, combine, wilson
from optics_sim.report.study_page import study_html
from optics_sim.report.study_server import study_server

ANSWERS = ("same", "different", "unsure")
INSTRUCTION = ("Two pictures at a time. Do they show the same person, or different people? If you cannot say, answer "
               "unsure rather than guess. Answer with the buttons or the keys S, D and U.")


class StudyPair(NamedTuple):
    """Two PNG pictures, whether they show the same person, and what is being judged (a code, a reconstruction, ...)."""

    png_a: bytes
    png_b: bytes
    same: bool
    condition: str = "measured code"


def build_study(
    pairs: Sequence[StudyPair | tuple[bytes, bytes, bool] | tuple[bytes, bytes, bool, str]], folder: Path, *,
    rng: np.random.Generator, title: str = "Same person or not?", source: Source = "simulated",
) -> Path:
    """Returns the path of the study page it writes, `index.html`, with `key.json` beside it.

    Pairs are shuffled, and the pictures of each pair change places at random. Pictures are encoded anew, so that no
    text hidden in a PNG tells who it is; the page holds neither the answers nor the conditions. Give clear pictures
    as one condition: a study in which people fail on those proves nothing. Raises PrivcamError when a picture cannot
    be read, there are no pairs, or the folder holds answers to another study.
    """
    if not pairs:
        raise PrivcamError("a study without pairs", got=0, allowed="at least one", todo="give pairs of pictures")
    shown, key = [], {}
    for number, index in enumerate(rng.permutation(len(pairs))):
        pair = StudyPair(*pairs[int(index)])
        pictures = [_clean_png(pair.png_a), _clean_png(pair.png_b)]
        first = int(rng.integers(2))
        identity = f"p{number:04d}"
        shown.append({"id": identity, "a": pictures[first], "b": pictures[1 - first]})
        key[identity] = {"same": bool(pair.same), "condition": pair.condition}
    digest = hashlib.sha256(json.dumps([shown, key], sort_keys=True).encode()).hexdigest()
    _refuse_to_overwrite(folder, digest)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"study": digest, "source": source, "pairs": key}, indent=1)
    write_atomically(folder / "key.json", text.encode())
    write_atomically(folder / "index.html", study_html(title, INSTRUCTION, digest[:16], shown).encode())
    return folder / "index.html"


def serve(
    folder: Path, port: int = 8765, host: str = "127.0.0.1", *, allow_remote: bool = False,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serves a study until interrupted, appending each answer to `answers.jsonl` as it comes.

    `on_ready` is told the address (`?person=NAME` tells participants apart). Raises PrivcamError for a host other
    than this machine's own unless `allow_remote`, and for a folder without a study.
    """
    with study_server(folder, port, host, allow_remote=allow_remote) as server:
        if on_ready is not None:
            on_ready(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return


def score(folder: Path, *, rng: np.random.Generator | None = None) -> list[Measure]:
    """Returns accuracy and the share of "unsure" for each condition of a study, with 95 % intervals.

    Accuracy counts pairs answered same or different; "unsure" is left out of it, counted and stated. One
    participant: Wilson's interval over pairs. Several: participants and pairs both drawn anew (`combine`), n still
    counting pairs. A person's first answer to a pair is the one that counts. Raises PrivcamError when there is no
    key, or a downloaded file answers another study.
    """
    key = _load_key(folder)
    answers = read_answers(folder, key["study"])
    generator = rng or np.random.default_rng(0)
    measures = []
    for condition in dict.fromkeys(pair["condition"] for pair in key["pairs"].values()):
        mine = {ident: pair["same"] for ident, pair in key["pairs"].items() if pair["condition"] == condition}
        given = {who: value for who, value in answers.items() if who[1] in mine}
        measures += _condition(condition, mine, given, key["source"], generator)
    return measures


def read_answers(folder: Path, digest: str) -> dict[tuple[str, str], str]:
    """Returns the first answer by (person, pair) from `answers.jsonl` and every `answers-*.json`.

    A last line cut short by a kill is left out: its answer was never acknowledged.
    """
    found: dict[tuple[str, str], str] = {}
    journal = folder / "answers.jsonl"
    lines = journal.read_text(encoding="utf-8").splitlines() if journal.exists() else []
    for line in lines:
        entry = _json_or_none(line)
        if isinstance(entry, dict) and entry.get("answer") in ANSWERS:
            found.setdefault((str(entry.get("person")), str(entry.get("id"))), entry["answer"])
    for file in sorted(folder.glob("answers-*.json")):
        saved = _json_or_none(file.read_text(encoding="utf-8"))
        if not isinstance(saved, dict) or saved.get("study") != digest[:16] or not isinstance(saved.get("answers"), list):
            raise PrivcamError(f"{file.name} does not answer this study", got=_study_of(saved), allowed=digest[:16],
                               todo="move the file to the folder of its own study")
        for entry in saved["answers"]:
            if isinstance(entry, dict) and entry.get("answer") in ANSWERS:
                found.setdefault((str(saved.get("person", "1")), str(entry.get("id"))), entry["answer"])
    return found


# --- helpers --------------------------------------------------------------------------------------
def _condition(
    condition: str, same: dict[str, bool], given: dict[tuple[str, str], str], source: Source, rng: np.random.Generator
) -> list[Measure]:
    decided = {who: (answer == "same") == same[who[1]] for who, answer in given.items() if answer != "unsure"}
    unsure = {who: answer == "unsure" for who, answer in given.items()}
    people = len({person for person, _ in given})
    common = max(Counter(same.values()).values()) / len(same)
    note = (f"{len(given)} answers by {people} {'person' if people == 1 else 'people'}, {sum(unsure.values())} unsure "
            f"(left out); {len(same)} pairs, always giving the commoner answer scores {common:.3f}")
    return [_share(f"study/{condition}/accuracy", decided, note, source, rng),
            _share(f"study/{condition}/unsure", unsure, note.replace(" (left out)", ""), source, rng)]


def _share(
    name: str, outcomes: dict[tuple[str, str], bool], note: str, source: Source, rng: np.random.Generator
) -> Measure:
    if not outcomes:
        return Measure(name=name, value=None, n=0, source=source, note=note)
    people = sorted({person for person, _ in outcomes})
    pairs = len({pair for _, pair in outcomes})
    values = [[float(v) for (person, _), v in outcomes.items() if person == one] for one in people]
    named = [[pair for person, pair in outcomes if person == one] for one in people]
    interval: Interval | None
    if len(people) == 1:
        interval, kind = wilson(sum(outcomes.values()), len(outcomes)), "95 % Wilson"
        value = sum(outcomes.values()) / len(outcomes)
    else:
        interval, kind = combine(values, named, rng, bounds=(0.0, 1.0)), "95 % over participants and pairs"
        value = float(np.mean([np.mean(one) for one in values]))
    return Measure(name=name, value=value, interval=interval, interval_kind=kind, n=pairs, source=source, note=note)


def _clean_png(png: bytes) -> str:
    try:
        with Image.open(io.BytesIO(png)) as picture:
            pixels = picture.convert("L" if picture.mode in ("1", "L") else "RGB")
    except (UnidentifiedImageError, OSError) as error:
        raise PrivcamError("a study picture cannot be read", got=str(error), allowed="PNG bytes",
                           todo="make it with report.figures.image_png") from None
    stream = io.BytesIO()
    Image.fromarray(np.asarray(pixels)).save(stream, format="PNG")
    return base64.b64encode(stream.getvalue()).decode()


def _load_key(folder: Path) -> dict[str, Any]:
    try:
        key: dict[str, Any] = json.loads((folder / "key.json").read_text(encoding="utf-8"))
        return {"study": key["study"], "source": key["source"], "pairs": key["pairs"]}
    except (OSError, ValueError, KeyError) as error:
        raise PrivcamError("no study in this folder", got=f"{folder}: {error}", allowed="a folder with key.json",
                           todo="build the study first") from None


def _refuse_to_overwrite(folder: Path, digest: str) -> None:
    answered = (folder / "answers.jsonl").exists() or any(folder.glob("answers-*.json"))
    if answered and (not (folder / "key.json").exists() or _load_key(folder)["study"] != digest):
        raise PrivcamError("the folder holds answers to another study", got=str(folder), allowed="an empty folder",
                           todo="choose another folder, or move the answers away")


def _json_or_none(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _study_of(saved: Any) -> str:
    return str(saved.get("study")) if isinstance(saved, dict) else "not a JSON object"
