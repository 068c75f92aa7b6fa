import hashlib
import json
import pathlib

import h5py
import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_prep import convert, fixtures
from data_prep.datasets.vision_touch import convert as vision_touch
from data_prep.datasets.vision_touch import fixture as vision_touch_fixture
from data_prep.read import source_files
from data_prep.write import planted, shards

FOLDER = vision_touch_fixture.FOLDER


@pytest.fixture(scope="module")
def made(tmp_path_factory):
  """A fixture with every case that converts: (folder, manifest)."""
  folder = tmp_path_factory.mktemp("vision_touch")
  return folder, vision_touch_fixture.make(folder, mode="hard", image_size=16, signal="synergy")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
  """Five files without any case, for tests that spoil them: (folder of the files, manifest)."""
  folder = tmp_path_factory.mktemp("plain")
  manifest = vision_touch_fixture.make(folder, num_examples=5, cases=(), image_size=16)
  return folder / FOLDER, manifest


@pytest.fixture
def copy(plain, tmp_path):
  """A copy of `plain`."""
  (tmp_path / "source").mkdir()
  for path in plain[0].iterdir():
    (tmp_path / "source" / path.name).write_bytes(path.read_bytes())
  return tmp_path / "source"


def plan_of(source, **options):
  return next(vision_touch.plan("vision_touch", pathlib.Path(source), **options))


def examples_of(plan):
  return {split: list(make()) for split, make in plan.splits.items()}


def read(folder):
  builder = tfds.builder_from_directory(str(folder))
  rows = {split: list(builder.as_data_source(split)) for split in builder.info.splits}
  return rows, dict(builder.info.metadata)


def reference(folder, names, items):
  """docs/spec/data.md 5.3 for some files, one item after the other."""
  rows = []
  for name in names:
    with h5py.File(folder / name, "r") as file:
      data = {key: file[key][()] for key in file}
    for t in range(items):
      image, depth = data["image"][t], data["depth_data"][t]
      if image.shape[0] == 3:
        image = np.transpose(image, (2, 1, 0))
      if depth.ndim == 2:
        depth = depth[:, :, None]
      row = {
        "image": image,
        "force": data["ee_forces_continuous"][t],
        "proprio": data["proprio"][t][:8],
        "ee_yaw_next": data["proprio"][t + 1][:4],
        "contact_next": 1 if data["contact"][t + 1].sum() > 0 else 0,
        "action_next": data["action"][t + 1],
        "file_id": name.encode(),
        "t": t,
        "depth": depth,
        "flow": data["optical_flow"][t],
      }
      stem = name[: -len("_1000.h5")] if name.endswith("_1000.h5") else None
      row["segment"] = int(stem.rsplit("_", 1)[1]) if stem else -1
      trajectory = stem.rsplit("_", 1)[0] if stem else name[:-3]
      rows.append(row | {"trajectory_id": trajectory.encode()})
  return rows


def check(found, expected, names):
  assert len(found) == len(expected)
  for a, b in zip(found, expected, strict=True):
    assert set(a) == set(names)
    for name in names:
      value = np.asarray(b[name])
      if value.dtype.kind == "f":
        value = value.astype(np.float32)
      np.testing.assert_array_equal(a[name], value, err_msg=name)
      assert np.shape(a[name]) == value.shape, name


NAMES = (
  "image", "force", "proprio", "ee_yaw_next", "contact_next", "action_next", "file_id", "t", "segment",
  "trajectory_id",
)  # fmt: skip


def test_permutation_is_the_published_one():
  full = vision_touch.split_files(3000)
  assert full["train"][:5] == [2342, 554, 1243, 780, 2142]
  assert full["test"][:5] == [194, 2417, 1068, 163, 2454]
  assert (len(full["train"]), len(full["test"])) == (2400, 600)
  listed = ",".join(map(str, full["train"] + full["test"]))
  assert hashlib.sha256(listed.encode()).hexdigest().startswith("a34a6b17b81f055d")
  small = vision_touch.split_files(10)
  assert small["train"][:4] == [5, 6, 0, 7] and small["test"] == [1, 8]
  assert len(vision_touch.split_files(9)["test"]) == 1  # int(1.8)


def test_shards_hold_what_the_reference_reads(made, tmp_path):
  folder, manifest = made
  (written,) = convert.convert("vision_touch", str(folder), str(tmp_path))
  assert written == tmp_path / "vision_touch" / "default" / "1.0.0"
  rows, metadata = read(written)
  names = sorted(manifest["files"])
  order = [names[i] for i in (5, 6, 0, 7)]
  assert [row["file_id"].decode() for row in rows["train"][::48]][:4] == order
  test = [names[1], names[8]]
  train = [row["file_id"].decode() for row in rows["train"][::48]]
  assert sorted(train + test) == names and set(rows) == {"train", "test"}
  check(rows["train"], reference(folder / FOLDER, train, 48), NAMES)
  check(rows["test"], reference(folder / FOLDER, test, 48), NAMES)
  assert rows["test"][0]["image"].dtype == np.uint8
  assert metadata["counts"] == {"train": 384, "test": 96}
  assert {n: e["sha256"] for n, e in metadata["source"].items()} == manifest["files"]


def test_options_add_items_and_depth_and_keep_trajectories_apart(tmp_path):
  cases = ("two_digit_segment", "flat_depth", "channels_first")
  manifest = vision_touch_fixture.make(tmp_path, num_examples=11, cases=cases, image_size=16)
  options = {"items": 49, "with_depth_flow": True, "split": "by_trajectory"}
  plan = plan_of(tmp_path / FOLDER, **options)
  assert plan.config == "depth_flow_items49_by_trajectory"
  rows, _ = read(shards.write(plan, tmp_path / "out"))
  names = sorted(manifest["files"])
  assert {row["segment"] for row in rows["train"] + rows["test"]} == {0, 1, 2, 3, 10}
  seen = {split: {row["trajectory_id"] for row in part} for split, part in rows.items()}
  assert not seen["train"] & seen["test"] and len(seen["test"]) == 1
  for part in rows.values():
    order = [row["file_id"].decode() for row in part[::49]]
    check(part, reference(tmp_path / FOLDER, order, 49), (*NAMES, "depth", "flow"))
  files = {row["file_id"].decode() for part in rows.values() for row in part}
  assert sorted(files) == names


@pytest.mark.parametrize(
  ("options", "config"),
  [
    ({}, "default"),
    ({"items": 49}, "items49"),
    ({"with_depth_flow": True}, "depth_flow"),
  ],
)
def test_config_names(plain, options, config):
  plan = plan_of(plain[0], **options)
  assert plan.config == config
  assert plan.counts == {s: n * options.get("items", 48) for s, n in (("train", 4), ("test", 1))}


def test_split_by_trajectory_of_many():
  trajectories = [f"robot_{i // 20:03d}" for i in range(3000)]
  split = vision_touch.split_trajectories(trajectories)
  sides = {part: {trajectories[i] for i in rows} for part, rows in split.items()}
  assert len(sides["train"]) == 120 and len(sides["test"]) == 30
  assert not sides["train"] & sides["test"]
  assert sorted(split["train"] + split["test"]) == list(range(3000))
  published = vision_touch.split_files(3000)
  leaked = {trajectories[i] for i in published["test"]} & {
    trajectories[i] for i in published["train"]
  }
  assert len(leaked) == 149  # what docs/spec/data.md 5.3 counted


def test_metadata_tell_what_is_odd(made, capsys):
  folder, manifest = made
  metadata = plan_of(folder).metadata
  json.dumps(metadata, allow_nan=False)
  ids = [warning.split(":")[0] for warning in metadata["warnings"]]
  assert ids == ["count", "file_name", "image_dtype", "nonfinite"]
  assert metadata["channels_first_images"] == {
    "files": 1,
    "first": manifest["special_files"]["channels_first"],
  }
  assert metadata["nonfinite"] == {"ee_forces_continuous": 3}
  assert metadata["layouts"]["proprio"]["float64 [50, 12]"] == 1
  assert metadata["counted_in_papers"] == {"train": 117_600, "test": 29_400}
  assert metadata["expected_counts"] == {"train": 115_200, "test": 28_800}
  assert metadata["force_range"] == [-1000, 1000]
  names = sorted(manifest["files"])
  train = [names[i] for i in vision_touch.split_files(10)["train"]]
  rows = {
    "train": reference(folder / FOLDER, train, 48),
    "test": reference(folder / FOLDER, [names[1], names[8]], 48),
  }
  yaw = {split: np.stack([row["ee_yaw_next"] for row in part]) for split, part in rows.items()}
  for split, part in rows.items():
    found = metadata["labels"][split]
    np.testing.assert_allclose(found["ee_yaw_next_mean"], yaw[split].mean(0), atol=1e-7)
    np.testing.assert_allclose(found["ee_yaw_next_std"], yaw[split].std(0), atol=1e-7)
    error = ((yaw[split] - yaw["train"].mean(0)) ** 2).mean()
    assert found["ee_yaw_next_mse_of_train_mean"] == pytest.approx(error, rel=1e-5)
    positive = sum(row["contact_next"] for row in part)
    assert found["contact"] == [len(part) - positive, positive]
  assert f"MSE of {error:.4g}" in capsys.readouterr().err


def test_one_file_is_read_at_a_time(made, monkeypatch):
  opened = []
  real = vision_touch._read_items
  monkeypatch.setattr(
    vision_touch, "_read_items", lambda path, *rest: opened.append(path) or real(path, *rest)
  )
  examples = plan_of(made[0]).splits["train"]()
  for _ in range(49):
    next(examples)
  assert len(opened) == 2


def _edit(copy, name, change):
  with h5py.File(copy / name, "a") as file:
    change(file)


def _replace(key, change):
  def apply(file):
    values = change(file[key][()])
    del file[key]
    file[key] = values

  return apply


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (_replace("action", lambda x: x[:, :3]), r"action: expected numbers of shape \[50, 4\], found"),
    (
      _replace("proprio", lambda x: x[:, :6]),
      r"proprio: expected numbers of shape \[50, 8\] or more",
    ),
    (_replace("contact", lambda x: x[:49]), r"contact: expected numbers of shape \[50, 50\]"),
    (_replace("ee_forces_continuous", lambda x: x[:, :32]), r"shape \[50, 50, 6\], found"),
    (
      _replace("image", lambda x: x[..., :1]),
      r"image: expected numbers of shape \[50, 16, 16, 3\]",
    ),
    (_replace("image", lambda x: x[:, 0]), "image: expected numbers of shape"),
    (_replace("image", lambda x: x / 255), "image: expected uint8, or whole numbers of 0 to 255"),
    (_replace("image", lambda x: x.astype(int) * 2), "image: expected uint8, or whole numbers"),
    (_replace("image", lambda x: x[:, :8]), r"other files, \(16, 16\), found \(8, 16\)"),
    (
      _replace("action", lambda x: x.astype("S8")),
      r"action: expected numbers of shape .* found \|S8",
    ),
    (lambda file: file.__delitem__("image"), "image missing, found action, contact"),
    (lambda file: [file.__delitem__(k) for k in list(file)], "missing, found none"),
  ],
)
def test_a_contradictory_file_stops_and_is_named(copy, change, message):
  _edit(copy, "foo_3_1000.h5", change)
  with pytest.raises(source_files.ConversionError, match=message) as caught:
    plan_of(copy)
  assert str(caught.value).startswith(str(copy / "foo_3_1000.h5"))


def test_transposing_channels_swaps_height_and_width_as_published(copy):
  for path in copy.iterdir():
    _edit(copy, path.name, _replace("image", lambda x: x[:, :8].transpose(0, 3, 1, 2)))
  plan = plan_of(copy)
  assert plan.features["image"].shape == (16, 8, 3)
  last = {e["file_id"]: e["image"] for e in plan.splits["test"]()}
  for name, image in last.items():
    with h5py.File(copy / name, "r") as file:
      np.testing.assert_array_equal(image, np.transpose(file["image"][47], (2, 1, 0)))


@pytest.mark.parametrize("key", ["depth_data", "optical_flow"])
def test_depth_and_flow_are_needed_only_when_asked_for(copy, key):
  _edit(copy, "foo_2_1000.h5", lambda file: file.__delitem__(key))
  plan_of(copy)
  with pytest.raises(source_files.ConversionError, match=f"{key} missing"):
    plan_of(copy, with_depth_flow=True)


def test_files_that_are_no_hdf5(copy):
  path = copy / "foo_1_1000.h5"
  whole = path.read_bytes()
  middle = whole[:600] + b"\xff" * (len(whole) - 1200) + whole[-600:]
  for content, message in (
    (whole[:5000], "truncated at 5,000 bytes"),
    (b"<!doctype html><html>", "found an HTML page"),
    (b"", "empty file"),
    (middle, "damaged|missing"),
  ):
    path.write_bytes(content)
    with pytest.raises(source_files.ConversionError, match=message) as caught:
      examples_of(plan_of(copy))
    assert str(path) in str(caught.value)


def test_sources_that_are_no_folder_of_recordings(copy, tmp_path):
  with pytest.raises(source_files.ConversionError, match="found nothing"):
    plan_of(tmp_path / "none")
  (tmp_path / "empty").mkdir()
  (tmp_path / "empty" / "._foo_0_1000.h5").write_bytes(b"\x00\x05\x16\x07")
  with pytest.raises(source_files.ConversionError, match="found no file of that kind"):
    plan_of(tmp_path / "empty")
  (tmp_path / "a.zip").write_bytes(b"PK\x03\x04" + bytes(60) + b"PK\x05\x06" + bytes(18))
  with pytest.raises(source_files.ConversionError, match="found a zip archive"):
    plan_of(tmp_path / "a.zip")
  with pytest.raises(source_files.ConversionError, match="Pass its folder"):
    plan_of(copy / "foo_0_1000.h5")
  with pytest.raises(source_files.ConversionError, match="'foo' only"):
    plan_of(copy, split="by_trajectory")
  (copy / "foo_0_1000.h5").rename(copy / "calibration.h5")
  with pytest.raises(source_files.ConversionError, match=r"the name calibration\.h5"):
    plan_of(copy, split="by_trajectory")
  (copy / "calibration.h5").unlink()
  with pytest.raises(source_files.ConversionError, match="at least 5 files"):
    plan_of(copy)


@pytest.mark.parametrize("case", vision_touch_fixture.ERROR_CASES)
def test_error_cases_of_the_fixture(tmp_path, case):
  options = {"num_examples": 5, "image_size": 16, "cases": (case,)}
  manifest = vision_touch_fixture.make(tmp_path, **options)
  with pytest.raises(source_files.ConversionError) as caught:
    plan_of(tmp_path)
  assert vision_touch_fixture.ERROR_CASES[case] in str(caught.value)
  assert manifest["special_files"][case][0] in str(caught.value)


@pytest.mark.parametrize("case", vision_touch_fixture.HARD_CASES)
def test_hard_cases_give_their_warning_and_no_other(tmp_path, case):
  vision_touch_fixture.make(tmp_path, num_examples=5, image_size=16, cases=(case,))
  ids = {warning.split(":")[0] for warning in plan_of(tmp_path).metadata["warnings"]}
  assert ids == {"count", vision_touch_fixture.HARD_CASES[case]}


def test_fixture_is_deterministic(tmp_path):
  first = fixtures.make_fixture("vision_touch", tmp_path / "a", num_examples=5)
  again = fixtures.make_fixture("vision_touch", tmp_path / "b", num_examples=5)
  other = fixtures.make_fixture("vision_touch", tmp_path / "c", 1, num_examples=5)
  assert first == again and not set(first["files"].values()) & set(other["files"].values())
  manifest = tmp_path / "a" / f"{FOLDER}.manifest.json"
  assert json.loads(manifest.read_text()) == first
  present = sorted(p.name for p in (tmp_path / "a" / FOLDER).iterdir())
  assert present == sorted([*first["files"], "README.txt", "._foo_0_1000.h5"])
  for name, digest in first["files"].items():
    assert hashlib.sha256((tmp_path / "a" / FOLDER / name).read_bytes()).hexdigest() == digest
  smaller = vision_touch_fixture.make(tmp_path / "a", num_examples=6, cases=())
  assert len(list((tmp_path / "a" / FOLDER).glob("[!.]*.h5"))) == len(smaller["files"]) == 6


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"num_examples": 4}, "num_examples: expected at least 5"),
    ({"cases": ("fire",)}, r"cases: expected some of .* found \['fire'\]"),
    ({"strength": -1}, "strength: expected"),
    ({"image_size": 24}, "image_size: expected a multiple of 16"),
    ({"mode": "soft"}, "mode: expected"),
    ({"signal": "noise"}, "signal: expected"),
  ],
)
def test_fixture_refuses(tmp_path, options, message):
  with pytest.raises(ValueError, match=message):
    vision_touch_fixture.make(tmp_path, **options)


def test_fixture_never_writes_into_real_data(tmp_path):
  (tmp_path / FOLDER).mkdir()
  (tmp_path / FOLDER / "foo_0_1000.h5").write_text("precious")
  with pytest.raises(ValueError, match="may be the real data"):
    vision_touch_fixture.make(tmp_path, num_examples=5)
  assert (tmp_path / FOLDER / "foo_0_1000.h5").read_text() == "precious"


def _decode(example):
  """Bits of an example from its pixels and forces alone."""
  image = example["image"].astype(float)
  red, _, blue = image.mean((0, 1))
  grey = image.mean(2)
  return {
    "gate_1": bool(red > blue),
    "redundancy": bool(grey.mean(1).var() > grey.mean(0).var()),
    "force": np.nanmedian(example["force"][-32:], 0),  # spikes are few
  }


@pytest.mark.parametrize("signal", planted.SIGNALS)
def test_contact_follows_the_planted_signal(tmp_path, signal):
  manifest = vision_touch_fixture.make(tmp_path, num_examples=5, signal=signal, image_size=16)
  for part in examples_of(plan_of(tmp_path)).values():
    for example in part:
      bits, t = manifest["sources"][example["file_id"]], example["t"]
      assert example["contact_next"] == bits["label"][t]
      assert bits["synergy"][t] == bits["gate_1"][t] ^ bits["gate_2"][t]


def test_label_is_the_xor_of_the_gates_one_sees_and_feels(made):
  folder, manifest = made
  examples = examples_of(plan_of(folder))
  decoded, sources = {}, {}
  for split, part in examples.items():
    decoded[split] = [_decode(example) for example in part]
    found = [{b: v[e["t"]] for b, v in manifest["sources"][e["file_id"]].items()} for e in part]
    sources[split] = {bit: np.array([s[bit] for s in found]) for bit in found[0]}
    for bit in ("gate_1", "redundancy"):
      np.testing.assert_array_equal([d[bit] for d in decoded[split]], sources[split][bit])
  force = {split: np.stack([d["force"] for d in part]) for split, part in decoded.items()}
  proprio = {split: np.stack([e["proprio"][4:] for e in part]) for split, part in examples.items()}
  for carrier in (force, proprio):
    gate = _fit(carrier["train"], sources["train"]["gate_2"])
    seen = np.array([d["gate_1"] for d in decoded["test"]])
    felt = gate(carrier["test"])
    label = np.array([e["contact_next"] for e in examples["test"]])
    assert (label == seen ^ felt).mean() >= 0.98
    assert abs((label == felt).mean() - 0.5) < 0.02 and abs((label == seen).mean() - 0.5) < 0.02


def _fit(features, bit):
  """Least squares on a bit; returns the prediction as a function."""
  ones = np.ones((len(features), 1))
  weights = np.linalg.lstsq(np.append(features, ones, 1), 2.0 * bit - 1, rcond=None)[0]
  return lambda values: np.append(values, np.ones((len(values), 1)), 1) @ weights > 0


def test_regression_needs_both_modalities(made):
  folder, manifest = made
  part = examples_of(plan_of(folder))["train"]
  target = np.stack([e["ee_yaw_next"] for e in part])
  bits = [{b: v[e["t"]] for b, v in manifest["sources"][e["file_id"]].items()} for e in part]

  def error(*names):
    x = np.array([[1, *(2 * s[name] - 1 for name in names)] for s in bits], float)
    return ((x @ np.linalg.lstsq(x, target, rcond=None)[0] - target) ** 2).mean()

  unimodal = error("redundancy", "unique_1", "gate_1"), error("redundancy", "unique_2", "gate_2")
  additive = error("redundancy", "unique_1", "unique_2", "gate_1", "gate_2")
  best = error("redundancy", "unique_1", "unique_2", "synergy")
  np.testing.assert_allclose([error(), *unimodal], [0.0101, 0.0051, 0.0051], rtol=0.05)
  np.testing.assert_allclose([additive, best], [0.0026, 0.0001], rtol=0.25)
  # What proprioception tells about its own future is the walk only.
  now = np.stack([np.append(1, e["proprio"][:4]) for e in part])
  left = ((now @ np.linalg.lstsq(now, target, rcond=None)[0] - target) ** 2).mean()
  assert left > 0.95 * error()


def test_forces_stay_where_tanh_is_nearly_linear_but_for_the_spikes(plain):
  example = examples_of(plan_of(plain[0]))["train"]
  window = np.stack([e["force"][-32:] for e in example])
  assert np.percentile(np.abs(window), 99) < 1 and np.abs(window).max() < 2


def test_no_strength_plants_nothing_but_keeps_the_labels(tmp_path):
  manifest = vision_touch_fixture.make(
    tmp_path, num_examples=5, strength=0, image_size=16, cases=()
  )
  part = examples_of(plan_of(tmp_path))["train"]
  gate = np.array([manifest["sources"][e["file_id"]]["gate_1"][e["t"]] for e in part])
  seen = np.array([_decode(e)["gate_1"] for e in part])
  assert abs((gate == seen).mean() - 0.5) < 0.15
  force = np.stack([e["force"][-32:].mean(0) for e in part])
  assert np.abs(force).max() < 0.1


def test_full_size_images(tmp_path):
  vision_touch_fixture.make(tmp_path, num_examples=5, cases=("channels_first",), image_size=128)
  plan = plan_of(tmp_path)
  assert plan.features["image"].shape == (128, 128, 3)
  assert next(plan.splits["test"]())["image"].shape == (128, 128, 3)


def _lead_elsewhere(path, how, secret):
  """Makes `proprio` of a recording something whose bytes lie in another file, or nowhere."""
  with h5py.File(path, "r+") as file:
    shape, dtype = file["proprio"].shape, file["proprio"].dtype
    del file["proprio"]
    if how == "a link to another file":
      file["proprio"] = h5py.ExternalLink(str(secret), "proprio")
    elif how == "a soft link":
      file["outside"] = h5py.ExternalLink(str(secret), "/")
      file["proprio"] = h5py.SoftLink("/outside/proprio")
      del file["outside"]
    elif how == "virtual":
      layout = h5py.VirtualLayout(shape, dtype)
      layout[:] = h5py.VirtualSource(str(secret), "proprio", shape)
      file.create_virtual_dataset("proprio", layout)
    elif how == "external storage":
      file.create_dataset("proprio", shape, dtype, external=[(str(secret), 0, h5py.h5f.UNLIMITED)])
    else:
      file.create_dataset("proprio", (50, 2**40), dtype, chunks=(1, 2**16))


@pytest.mark.parametrize(
  "how", ["a link to another file", "a soft link", "virtual", "external storage", "declared"]
)
def test_data_outside_the_file_are_refused(copy, tmp_path, capsys, how):
  secret = tmp_path / "secret.h5"
  with h5py.File(secret, "w") as file:
    file["proprio"] = np.ones((50, 8))
  _lead_elsewhere(sorted(copy.iterdir())[0], how, secret)
  assert convert.main(["vision_touch", f"--source={copy}", f"--data_dir={tmp_path / 'out'}"]) == 1
  message = capsys.readouterr().err
  assert "proprio: expected data inside this file, found" in message and how in message
  assert not list((tmp_path / "out").rglob("*record*"))


def test_a_link_to_another_file_is_refused_also_where_nothing_needs_it(copy, tmp_path, capsys):
  with h5py.File(sorted(copy.iterdir())[0], "r+") as file:
    file["notes"] = h5py.ExternalLink("/etc/hostname", "x")
  assert convert.main(["vision_touch", f"--source={copy}", f"--data_dir={tmp_path / 'out'}"]) == 1
  assert "notes: expected data inside this file" in capsys.readouterr().err


def test_compressed_recordings_are_no_bombs(copy, tmp_path):
  path = sorted(copy.iterdir())[0]
  with h5py.File(path, "r+") as file:
    for name in ("image", "proprio"):
      data = np.zeros_like(file[name][()])  # as small as deflate can make it
      del file[name]
      file.create_dataset(name, data=data, compression="gzip", compression_opts=9)
  assert convert.main(["vision_touch", f"--source={copy}", f"--data_dir={tmp_path / 'out'}"]) == 0
