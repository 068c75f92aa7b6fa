import hashlib
import json

import h5py
import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_prep import convert
from data_prep.datasets.vision_touch import convert as vision_touch
from data_prep.datasets.vision_touch import fixture as vision_touch_fixture
from data_prep.datasets.vision_touch import hdf5
from data_prep.read import source_files
from data_prep.write import shards
from tests.data_prep.datasets.vision_touch.plans import FOLDER, plan_of


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
  real = hdf5.read_items
  monkeypatch.setattr(
    hdf5, "read_items", lambda path, *rest: opened.append(path) or real(path, *rest)
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


def test_full_size_images(tmp_path):
  vision_touch_fixture.make(tmp_path, num_examples=5, cases=("channels_first",), image_size=128)
  plan = plan_of(tmp_path)
  assert plan.features["image"].shape == (128, 128, 3)
  assert next(plan.splits["test"]())["image"].shape == (128, 128, 3)
