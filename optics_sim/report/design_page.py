"""The page of one design: what was learned, what the camera sees, what each attacker got, and how the masks compare."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file

from optics_sim.attacks.evaluate import Row
from optics_sim.camera import PrivacyCamera
from optics_sim.design import CameraDesign, LenslessOptics, write_atomically
from optics_sim.learning.journal import read_losses
from optics_sim.report import figures
from optics_sim.report.lensless_table import TITLES, Table, controls_table, tradeoff
from optics_sim.report.page import Cell, Page
from optics_sim.report.rows import control_findings, measure, names, strongest_measure
from optics_sim.report.study import StudyPair, build_study
from optics_sim.run import Run
from optics_sim.sensor.presets import describe
from optics_sim.tables.lensless import CONTROLS, RowTask, Setting, design_rows, main_mask

SHOWN = ("scene", "code", "wiener", "tikhonov", "fista", "admm_tv", "wrong_mask", "decoder", "mean_face")
CAPTIONS = {"scene": "scene", "code": "what the sensor records", "wiener": "Wiener", "tikhonov": "Tikhonov", "fista": "FISTA",
            "admm_tv": "ADMM-TV", "wrong_mask": "Tikhonov, wrong mask", "decoder": "learned decoder", "mean_face": "mean face (no camera)"}
PEOPLE_SHOWN = 3
ATTRIBUTE = "code/attribute/"
Pictures = dict[str, NDArray[np.float32]]


def write_design(out: Path, setting: Setting, record: Run, exported: Sequence[Table] = ()) -> Path:
    """Writes mask picture, study, `report.json` and the page of a kept design into a run folder; returns the page's path."""
    rows = {task.label: _row(out, task) for task in design_rows(setting)}
    main = design_rows(setting)[1]
    design = CameraDesign.load(out / "design")
    pictures = _pictures(out, main)
    _figures(out, design)
    _study(out, pictures, setting.experiment.seed)
    measures = [measure([row], name, f"{label}/{name}") for label, row in rows.items() for name in names([row])]
    record.report(measures, design=design.digest, parent=design.parent, controls=_control_records(rows))
    page = _page(out, setting, design, rows, pictures, exported)
    return page.section("Everything").measures(measures).write(out / "design.html")


def _row(out: Path, task: RowTask) -> Row:
    return Row.model_validate_json((out / task.folder / "row.json").read_text(encoding="utf-8"))


def _pictures(out: Path, task: RowTask) -> Pictures:
    return {name: images.numpy() for name, images in load_file(out / task.folder / "pictures.safetensors").items()}


def _figures(out: Path, design: CameraDesign) -> None:
    (out / "figures").mkdir(exist_ok=True)
    for name, data in {"mask.png": _mask_png(design), "psf.png": _psf_png(design)}.items():
        write_atomically(out / "figures" / name, data)


def _mask_png(design: CameraDesign) -> bytes:
    transmission = PrivacyCamera.from_design(design).transmission()
    if transmission is None or not isinstance(design.optics, LenslessOptics):
        raise TypeError("a design page is of a lensless design")
    return figures.mask_png_with_scale(transmission.numpy(), design.optics.cell_m)


def _psf_png(design: CameraDesign) -> bytes:
    return figures.psf_figure(PrivacyCamera.from_design(design).psf().numpy(), design.code_pitch_m)


def _page(out: Path, setting: Setting, design: CameraDesign, rows: dict[str, Row], pictures: Pictures,
          exported: Sequence[Table]) -> Page:
    label = main_mask(setting).label
    synthetic = setting.data.startswith("synthetic:")
    people = "drawn people" if synthetic else setting.data.rsplit("/", 1)[-1]
    page = Page("A lensless privacy camera", f"design {design.digest[:12]}, on {people}")
    page.callout("simulated", "Every number on this page comes from the simulator: light, sensor and attackers are computed."
                 + (" The people are drawn by a generator; nobody on this page exists." if synthetic else ""))
    page.section("In short", _summary(rows[label])).table(*_short_table(rows))
    page.section("What the camera sees and what attackers recover", f"People who are not enrolled. {rows[label].cohort}")
    _, firsts = np.unique(pictures["person"], return_index=True)
    for person in firsts[:PEOPLE_SHOWN]:
        chosen = [name for name in SHOWN if name in pictures]
        page.figure(figures.image_row([shown(pictures[n][person], n) for n in chosen], [CAPTIONS[n] for n in chosen], height=126),
                    f"Stranger {int(pictures['person'][person]) + 1}.", "scene, measurement and what each attacker recovered, side by side")
    page.section("The mask and its point-spread function")
    page.figure((out / "figures" / "mask.png").read_bytes(), "The learned mask; white is clear.", "binary mask pattern with a scale bar")
    page.figure((out / "figures" / "psf.png").read_bytes(), "Point-spread function on the sensor, with diffraction.",
                "PSF, linear and logarithmic")
    page.section("Trade-off", "To the right, the enrolled are recognised better; lower, strangers are safer.")
    compared = [(name, [row]) for name, row in rows.items() if name not in CONTROLS]
    page.figure(tradeoff(compared), "Masks compared, each with a freshly trained recogniser and freshly trained attackers.",
                "scatter plot of accuracy against the strongest attacker's AUC")
    page.section("Attacks", "Verification AUC on people nobody trained on; chance is 0.5. In small: the interval over people.")
    page.table(*_attack_table(rows, label))
    if attributes := [s.name for s in rows[label].samples if s.name.startswith(ATTRIBUTE)]:
        page.table(*_attribute_table(rows, label, attributes))
    page.section("Controls", "An attack that cannot break a clear camera proves nothing; one that breaks a capped camera cheats.")
    for kind in CONTROLS:
        page.table(*controls_table([rows[kind]], kind))
    page.section("Training")
    curves = read_losses(out / main_mask(setting).folder)
    if curves:
        page.figure(figures.curve_figure({k: curves[k] for k in ("cross_entropy", "accuracy", "open_fraction") if k in curves},
                                         "epoch", "value"), "The joint training of mask and recogniser.", "training curves")
    page.section("The camera").table(*_camera_table(design)).table(*_sensor_table(design))
    for table in exported:
        page.section(table[2]).table(*table)
    return page


def shown(image: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    """Returns a picture as a screen should show it: radiance with the sRGB curve, codes as they are."""
    from optics_sim.data.photographs import linear_to_srgb

    return image if name == "code" else linear_to_srgb(np.clip(image, 0, 1))


def _summary(row: Row) -> str:
    accuracy, best = measure([row], "accuracy"), strongest_measure([row])
    return (f"The camera names its enrolled people in {accuracy.text(2)} of pictures. The strongest attacker on strangers "
            f"({best.note}) reaches a verification AUC of {best.text(2)}; 0.5 is chance and 1 is certain.")


def _short_table(rows: dict[str, Row]) -> Table:
    body: list[list[Cell]] = []
    for label, row in rows.items():
        if label not in CONTROLS:
            body.append([TITLES[label], measure([row], "accuracy"), strongest_measure([row]), strongest_measure([row]).note,
                         measure([row], "decoder/ssim"), measure([row], "mean_face/ssim"), measure([row], "blurriness"),
                         measure([row], "aperture"), measure([row], "exposure")])
    return ["Mask", "Accuracy on the enrolled", "Strongest attacker on strangers, AUC", "which", "Decoder, SSIM", "Mean face, SSIM",
            "Blurriness", "Aperture ratio", "Exposure"], body, "The learned mask beside fixed ones", [
        "One seed: a claim needs `privcam table`."]


def _attack_table(rows: dict[str, Row], label: str) -> Table:
    row = rows[label]
    known = [name for name in names([row]) if "/" in name and not name.startswith(ATTRIBUTE)]
    attacks = list(dict.fromkeys(name.rpartition("/")[0].removesuffix("/public") for name in known))
    body: list[list[Cell]] = []
    for attack in attacks:
        auc = measure([row], f"{attack}/auc") if attack.startswith("code/") else measure([row], f"{attack}/public/auc")
        chance = row.sample(f"{attack}/auc" if attack.startswith("code/") else f"{attack}/public/auc").shuffled
        body.append([attack.replace("_", " "), auc, None if chance is None else f"{chance[0]:.2f} to {chance[1]:.2f}",
                     *(measure([row], f"{attack}/{m}") for m in ("psnr", "ssim", "nmi", "face_found"))])
    return ["Attack", "Verification AUC", "Same attack, people shuffled", "PSNR, dB", "SSIM", "NMI", "Face found"], body, \
        f"{TITLES[label]}: every attack", ["AUC of a recovered picture is a public face network's (give one with --verifier); the row "
                                          "'scene' is the same network on the clear scene: its ceiling."]


def _attribute_table(rows: dict[str, Row], label: str, attributes: list[str]) -> Table:
    body: list[list[Cell]] = []
    for name in attributes:
        low, high = rows[label].sample(name).shuffled or (0.5, 0.5)
        body.append([name.removeprefix(ATTRIBUTE).replace("_", " "), measure([rows[label]], name), f"{low:.2f} to {high:.2f}",
                     measure([rows["pinhole"]], name), *(measure([rows[kind]], name) for kind in CONTROLS)])
    return ["Attribute", TITLES[label], "Same attack, people shuffled", *(TITLES[k] for k in ("pinhole", *CONTROLS))], body, \
        "Attributes of strangers read from the code: balanced accuracy", [
            "A ridge classifier on codes of the attacker's people; each interval is a 95 % one, so of many some miss by chance."]


def _control_records(rows: dict[str, Row]) -> list[dict[str, object]]:
    return [{"camera": kind, "attack": name, "value": value.value, "demanded": demand, "passed": ok}
            for kind in CONTROLS for name, value, demand, ok in control_findings([rows[kind]], kind)]


def _camera_table(design: CameraDesign) -> Table:
    optics = design.optics
    if not isinstance(optics, LenslessOptics):
        raise TypeError("a design page is of a lensless design")
    facts: Sequence[tuple[str, Cell]] = (
        ("scene", f"{design.scene[0]} x {design.scene[1]} pixels"),
        ("mask", f"{optics.cells[0]} x {optics.cells[1]} cells of {optics.cell_m * 1e6:.2f} um"),
        ("mask to sensor", f"{optics.mask_to_sensor_m * 1e3:g} mm"), ("scene to mask", f"{optics.scene_to_mask_m:g} m"),
        ("code", f"{design.readout.shape[0]} x {design.readout.shape[1]} code pixels of {design.code_pitch_m * 1e6:g} um, 8 bit"),
        ("exposure", f"{design.exposure.exposure_s * 1e3:.3g} ms"), ("readout shift", f"{design.readout.shift} bit"),
        ("surround", f"radiance {optics.surround:g}"), ("PSF", optics.propagation), ("digest", design.digest))
    return ["What", "Value"], [[name, value] for name, value in facts], "The design file holds all of it (design/design.toml)", []


def _sensor_table(design: CameraDesign) -> Table:
    body: list[list[Cell]] = [[field, f"{value} {unit}".strip(), source] for field, value, unit, source in describe(design.sensor)]
    return ["Sensor", "Value", "Source"], body, f"The sensor, {design.sensor.name}", ["A number without a source is assumed, and says so."]


def _study(out: Path, pictures: Pictures, seed: int) -> None:
    """Writes the page on which people answer: is this the same person? In the code, in what was recovered, in the clear."""
    if (out / "study" / "key.json").exists():
        return
    conditions = [name for name in ("scene", "code", "admm_tv", "decoder") if name in pictures]
    rng = np.random.default_rng(seed)
    pairs = []
    for name in conditions:
        images = [figures.image_png(shown(image, name), scale=4) for image in pictures[name]]
        pairs += _pairs(images, pictures["person"].astype(np.int64), CAPTIONS[name], rng)
    build_study(pairs, out / "study", rng=rng)


def _pairs(images: list[bytes], people: NDArray[np.int64], condition: str, rng: np.random.Generator) -> list[StudyPair]:
    first, second = np.triu_indices(len(images), 1)
    same = people[first] == people[second]
    count = min(int(same.sum()), int((~same).sum()), 6)
    chosen = [*rng.permutation(np.flatnonzero(same))[:count], *rng.permutation(np.flatnonzero(~same))[:count]]
    return [StudyPair(images[first[i]], images[second[i]], bool(same[i]), condition) for i in chosen]


