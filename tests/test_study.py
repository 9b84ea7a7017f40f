"""The study keeps every answer, gives no answer away, and is open to nobody but the person at this machine."""

from __future__ import annotations

import contextlib
import io
import json
import re
import threading
import urllib.error
import urllib.request

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from optics_sim.errors import PrivcamError
from optics_sim.report.figures import image_png
from optics_sim.report.intervals import wilson
from optics_sim.report.study import StudyPair, build_study, score, serve
from optics_sim.report.study_server import LARGEST_BODY, study_server


def _pairs(count=12):
    rng = np.random.default_rng(0)
    return [StudyPair(image_png(rng.random((6, 6))), image_png(rng.random((6, 6))), i % 3 == 0,
                      "clear" if i < 4 else "measured code") for i in range(count)]


@pytest.fixture
def folder(tmp_path):
    build_study(_pairs(), tmp_path / "study", rng=np.random.default_rng(1))
    return tmp_path / "study"


@contextlib.contextmanager
def _running(folder, **more):
    with study_server(folder, 0, **more) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def _get(server, path="", **headers):
    with urllib.request.urlopen(urllib.request.Request(server.url + path, headers=headers), timeout=5) as reply:
        return reply.read().decode()


def _session(server, path=""):
    return json.loads(re.search(r"const session = (.*);", _get(server, path))[1])


def _post(server, body, path="answer", **headers):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"Content-Type": "application/json", "X-Study-Token": server.token, **headers}
    request = urllib.request.Request(server.url + path, data=data, headers=sent, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=5) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code


def _entry(pair="p0000", answer="same", person="1"):
    return {"person": person, "id": pair, "answer": answer, "seconds": 1.5}


def _key(folder):
    return json.loads((folder / "key.json").read_text())["pairs"]


# --- building -------------------------------------------------------------------------------------
def test_page_holds_pictures_in_a_seeded_order_and_not_the_answers(folder, tmp_path):
    page = (folder / "index.html").read_text()
    data = json.loads(re.search(r'id="study">(.*?)</script>', page)[1])
    assert [set(pair) for pair in data["pairs"]] == [{"id", "a", "b"}] * 12
    assert "measured code" not in page and '"condition"' not in page
    again, other = tmp_path / "again", tmp_path / "other"
    build_study(_pairs(), again, rng=np.random.default_rng(1))
    build_study(_pairs(), other, rng=np.random.default_rng(2))
    assert (again / "index.html").read_bytes() == page.encode()
    assert [p["same"] for p in _key(other).values()] != [p["same"] for p in _key(folder).values()]


def test_page_asks_for_nothing_from_elsewhere(folder):
    page = re.sub(r'"[ab]": "[A-Za-z0-9+/=]*"', "", (folder / "index.html").read_text())
    assert not re.search(r"https?://|url\(|@import|<link|src=", page)


def test_names_hidden_in_a_picture_do_not_reach_the_page(tmp_path):
    text = PngImagePlugin.PngInfo()
    text.add_text("Title", "Ada Lovelace")
    stream = io.BytesIO()
    Image.new("L", (8, 8), 128).save(stream, format="PNG", pnginfo=text)
    build_study([(stream.getvalue(), stream.getvalue(), True)], tmp_path, rng=np.random.default_rng(0))
    picture = json.loads(re.search(r'id="study">(.*?)</script>', (tmp_path / "index.html").read_text())[1])["pairs"][0]["a"]
    import base64

    assert b"Ada" in stream.getvalue() and b"Ada" not in base64.b64decode(picture)


def test_title_is_escaped_and_cannot_take_the_place_of_the_session(tmp_path):
    title = "</title><script>alert(1)</script> @DATA@ /*SESSION*/null"
    build_study(_pairs(2), tmp_path, rng=np.random.default_rng(0), title=title)
    assert "<script>alert" not in (tmp_path / "index.html").read_text()
    with _running(tmp_path) as server:
        assert _session(server)["token"] == server.token


def test_answers_to_another_study_are_not_lost(folder):
    (folder / "answers.jsonl").write_text(json.dumps(_entry()) + "\n")
    build_study(_pairs(), folder, rng=np.random.default_rng(1))  # the same study: fine
    with pytest.raises(PrivcamError, match="another study"):
        build_study(_pairs(), folder, rng=np.random.default_rng(2))


# --- serving --------------------------------------------------------------------------------------
def test_each_answer_is_on_the_disk_when_acknowledged_and_a_person_resumes(folder):
    with _running(folder) as server:
        assert _session(server) == {"token": server.token, "person": "1", "answered": []}
        assert _post(server, _entry()) == 200
        kept = json.loads((folder / "answers.jsonl").read_text())
        assert kept["id"] == "p0000" and kept["answer"] == "same" and kept["seconds"] == 1.5
        assert _post(server, _entry(answer="different")) == 409
        assert _session(server)["answered"] == ["p0000"]
        assert _session(server, "?person=ada")["answered"] == []
    with _running(folder) as server:
        assert _session(server)["answered"] == ["p0000"]
        assert _post(server, _entry("p0001")) == 200
    assert len((folder / "answers.jsonl").read_text().splitlines()) == 2


def test_a_line_cut_by_a_kill_costs_only_itself(folder):
    (folder / "answers.jsonl").write_text(json.dumps(_entry()) + "\n" + '{"person": "1", "id": "p00')
    with _running(folder) as server:
        assert _session(server)["answered"] == ["p0000"]
        assert _post(server, _entry("p0001")) == 200
    with _running(folder) as server:
        assert _session(server)["answered"] == ["p0000", "p0001"]
    assert {m.n for m in score(folder)} and sum(m.n for m in score(folder) if m.name.endswith("unsure")) == 2


def test_many_answers_at_once_are_all_kept_whole(folder):
    with _running(folder) as server:
        work = [threading.Thread(target=_post, args=(server, _entry(f"p{i:04d}", person=f"q{p}")))
                for i in range(12) for p in range(3)]
        for thread in work:
            thread.start()
        for thread in work:
            thread.join()
    lines = [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]
    assert len({(line["person"], line["id"]) for line in lines}) == len(lines) == 36


def test_what_another_site_could_send_is_refused(folder):
    with _running(folder) as server:
        assert _post(server, _entry(), **{"X-Study-Token": "guess"}) == 403
        assert _post(server, _entry(), **{"X-Study-Token": "gu\u00e9ss"}) == 403
        assert _post(server, _entry(), **{"Content-Type": "text/plain"}) == 415
        assert _post(server, _entry(), **{"Host": "evil.example"}) == 403
        assert _post(server, b" " * (LARGEST_BODY + 1)) == 413
        assert _post(server, b"{") == 400
        assert _post(server, b"[1]") == 400
        assert _post(server, b"[" * 4000) == 400
        assert _post(server, {**_entry(), "id": ["p0000"]}) == 400
        assert _post(server, _entry(answer="maybe")) == 400
        assert _post(server, _entry(pair="p9999")) == 400
        assert _post(server, _entry(person="../x")) == 400
        assert _post(server, _entry(), path="elsewhere") == 404
    assert not (folder / "answers.jsonl").exists()


@pytest.mark.parametrize("path, code", [("key.json", 404), ("../key.json", 404), ("answers.jsonl", 404), ("?person=a/b", 400)])
def test_only_the_page_is_served(folder, path, code):
    with _running(folder) as server, pytest.raises(urllib.error.HTTPError) as caught:
        _get(server, path)
    assert caught.value.code == code


def test_a_foreign_host_name_gets_no_page(folder):
    with _running(folder) as server, pytest.raises(urllib.error.HTTPError) as caught:
        _get(server, Host="evil.example")
    assert caught.value.code == 403


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.org", ""])
def test_only_loopback_unless_asked(folder, host):
    with pytest.raises(PrivcamError, match="this machine only"):
        serve(folder, 0, host)


def test_remote_when_asked(folder):
    with study_server(folder, 0, "0.0.0.0", allow_remote=True) as server:
        assert server.host_is_ours("camera.local:1")


def test_port_in_use_and_missing_study_are_said(folder, tmp_path):
    with study_server(folder, 0) as server, pytest.raises(PrivcamError, match="cannot be served"):
        study_server(folder, server.server_address[1])
    with pytest.raises(PrivcamError, match="no study"):
        serve(tmp_path)


def test_serve_says_where_and_ends_on_interrupt(folder):
    def stop(url):
        assert url.startswith("http://127.0.0.1:")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        serve(folder, 0, on_ready=stop)


# --- scoring --------------------------------------------------------------------------------------
def _answer_all(folder, person="1", wrong=(), unsure=()):
    with (folder / "answers.jsonl").open("a") as stream:
        for number, (pair, truth) in enumerate(_key(folder).items()):
            says = "unsure" if number in unsure else ("same" if truth["same"] != (number in wrong) else "different")
            stream.write(json.dumps(_entry(pair, says, person)) + "\n")


def test_one_person_has_wilson_per_condition_and_unsure_is_stated(folder):
    code = [i for i, pair in enumerate(_key(folder).values()) if pair["condition"] == "measured code"]
    _answer_all(folder, wrong=code[:3], unsure=code[3:5])
    found = {measure.name: measure for measure in score(folder)}
    clear, coded = found["study/clear/accuracy"], found["study/measured code/accuracy"]
    assert (clear.value, clear.n, clear.interval) == (1.0, 4, wilson(4, 4))
    assert (coded.value, coded.n, coded.interval) == (0.5, 6, wilson(3, 6))
    assert coded.interval_kind == "95 % Wilson" and "2 unsure (left out)" in coded.note
    assert found["study/measured code/unsure"].value == pytest.approx(2 / 8)
    assert {measure.source for measure in found.values()} == {"simulated"}


def test_several_people_count_pairs_once(folder):
    for number, person in enumerate(("a", "b", "c")):
        _answer_all(folder, person, wrong={number, number + 4})
    coded = next(m for m in score(folder) if m.name == "study/measured code/accuracy")
    assert coded.n == 8 and "by 3 people" in coded.note
    assert 0 <= coded.interval[0] < coded.value < coded.interval[1] <= 1


def test_downloaded_answers_count_and_foreign_ones_are_refused(folder):
    digest = json.loads((folder / "key.json").read_text())["study"][:16]
    saved = {"study": digest, "person": "x", "answers": [{"id": "p0000", "answer": "same", "seconds": 1}]}
    (folder / "answers-x.json").write_text(json.dumps(saved))
    assert sum(m.n for m in score(folder) if m.name.endswith("unsure")) == 1
    for bad in ({**saved, "study": "0"}, [1], {"study": digest}):
        (folder / "answers-x.json").write_text(json.dumps(bad))
        with pytest.raises(PrivcamError, match="does not answer this study"):
            score(folder)


def test_unanswered_conditions_have_no_value(folder):
    assert [m.value for m in score(folder)] == [None] * 4


@pytest.mark.parametrize(
    "call",
    [
        lambda path: build_study([], path, rng=np.random.default_rng(0)),
        lambda path: build_study([(b"no", b"no", True)], path, rng=np.random.default_rng(0)),
        lambda path: score(path),
    ],
)
def test_guards(call, tmp_path):
    with pytest.raises(PrivcamError) as caught:
        call(tmp_path)
    assert caught.value.allowed and caught.value.todo
