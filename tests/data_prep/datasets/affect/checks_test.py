import numpy as np

from data_prep.read import source_files
from tests.data_prep.datasets.affect.plans import warnings_of


def set_all(tree, name, change):
  for part in tree.values():
    part[name] = change(part[name])


def test_labels_out_of_their_kind_are_warned_about(trees, plan_of):
  tree = trees("mosi")
  tree["train"]["labels"][2], tree["test"]["labels"][1] = 4.5, np.nan
  plan = plan_of("mosi", tree)
  assert "label: train: expected scores in [-3, 3], found" in warnings_of(plan)
  assert "label: test: 1 are NaN and count as negative" in warnings_of(plan)
  row = list(plan.splits["test"]())[1]
  assert np.isnan(row["label_raw"]) and row["label_gt0"] == row["label_ge0"] == 0
  tree = trees("mustard")
  assert "-1 and 1" not in warnings_of(plan_of("mustard", tree))
  set_all(tree, "labels", lambda labels: (2 * labels - 1)[..., None])
  assert "-1 and 1" not in warnings_of(plan := plan_of("mustard", tree))
  assert {row["label_gt0"] for row in plan.splits["train"]()} == {0, 1}
  tree["valid"]["labels"][:2, 0, 0] = 0, 3
  assert "label: validation: expected 0 and 1, or -1 and 1, found" in warnings_of(
    plan_of("mustard", tree)
  )


def test_ids_of_two_splits_are_warned_about(trees, plan_of):
  tree = trees("mosi")
  assert "more than one split" not in warnings_of(plan_of("mosi", tree))
  tree["test"]["id"][0] = tree["train"]["id"][3]
  tree["train"]["id"][5] = tree["train"]["id"][4]
  tree["test"]["id"][1] = tree["train"]["id"][6]
  tree["train"]["text"][6] = 0  # dropped, so its id does not count
  plan = plan_of("mosi", tree)
  assert "id: 1 segment ids occur in more than one split" in warnings_of(plan)
  assert plan.metadata["repeated_ids"] == {
    "within_splits": {"train": 1, "validation": 0, "test": 0}, "across_splits": 1,
  }  # fmt: skip


def test_layout_that_differs_in_little_is_a_warning(trees, plan_of):
  tree = trees("mosi")
  for name in ("vision", "audio", "text"):
    set_all(tree, name, lambda array: array[:, 10:].astype(np.float32))
  set_all(tree, "id", lambda ids: [row[0].decode() for row in ids])
  tree["train"]["labels"] = tree["train"]["labels"].reshape(-1)
  text = warnings_of(plan_of("mosi", tree))
  assert "release: time steps: expected 50, found [40]" in text
  assert "release: ids: expected table, found list" in text
  assert "release: train/vision dtype: expected float64, found float32" in text


def test_published_label_counts_give_no_warning(trees, plan_of):
  tree = trees("mosi")
  counts = {"train": (552, 53, 679), "valid": (92, 13, 124), "test": (379, 30, 277)}
  for split, (negative, zero, positive) in counts.items():
    rows = negative + zero + positive
    part = tree[split]
    for name in ("vision", "audio", "text"):
      part[name] = np.zeros((rows, 50, part[name].shape[2]), part[name].dtype)
      part[name][:, -1] = 1
    part["labels"] = np.repeat([-0.2, 0, 0.4], (negative, zero, positive))[:, None, None]
    part["id"] = np.array([(f"{split}{i}", "0", "1") for i in range(rows)], "S14")
  warnings = plan_of("mosi", tree).metadata["warnings"]
  assert len(warnings) == 1 and warnings[0].startswith("checksum: ")
  tree["test"]["labels"][0] = 1
  assert warnings_of(plan_of("mosi", tree)).endswith(
    "label: test: expected 379/30/277 negative/zero/positive, found 378/30/278"
  )


def test_the_checksum_of_the_published_file_gives_no_warning(trees, plan_of, monkeypatch):
  digest = "1a113ad5edc8b9b625a7e29e6b94a97ecade70494c4e022d9f7ba5affca3bbdc"
  monkeypatch.setattr(source_files, "sha256", lambda path: digest)
  assert "checksum" not in warnings_of(plan_of("mosi", trees("mosi")))
