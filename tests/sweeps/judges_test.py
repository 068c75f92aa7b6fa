"""Unimodal rows are trained once, first, and judge the rows of their seed and data."""

import threading

import numpy as np
import pytest
from scipy.special import softmax

from synjax.evaluators import synergy_subset
from synjax.sweeps import journal as sweep_journal
from synjax.sweeps import judges, plan
from synjax.sweeps import run as sweep_run
from synjax.workdir import arrays
from tests.sweeps.judged import FUSED, LABEL, MEAN, MODALITIES, UNIMODAL, Trainer, expand, logits

ARMS = [FUSED, MEAN, *UNIMODAL]  # the unimodal rows come last in the file


def run(rows, folder, trainer, index=0, count=1, **kwargs):
  journal = sweep_journal.Journal(folder, index, count)
  groups = plan.shard(plan.group(rows, kwargs.pop("max_stack", None)), index, count)
  end = sweep_run.run(groups, journal, trainer, **kwargs)
  return end, journal.read()


def test_rows_are_scored_beside_the_models_of_their_own_seed_which_are_trained_first(tmp_path):
  rows, trainer = expand(ARMS), Trainer()
  end, entries = run(rows, tmp_path, trainer)
  assert (end.done, end.failed) == (12, 0)
  assert [call[:2] for call in trainer.calls] == [
    ("unimodal", "x1"), ("unimodal", "x2"), ("supervised", "")
  ]  # fmt: skip
  every = np.stack([[logits("unimodal", s, m) for m in MODALITIES] for s in range(3)])
  every = np.moveaxis(every, 1, 2)  # [seeds, examples, modalities, classes]
  for row in rows:
    seed, best = row.trial["seed"], entries[row.id]["best"]
    if row.overrides["arm"] in MODALITIES:
      assert not any("subset" in name for name in best)
      continue
    own = every[seed]
    wrong = (own.argmax(-1) != LABEL[:, None]).all(axis=1)
    fused = logits("supervised", seed)
    if row.overrides["arm"] == "mean":
      fused = np.log(softmax(own, axis=-1).mean(axis=1))
      assert best["test/label/accuracy"] == np.mean(fused.argmax(-1) == LABEL)
      assert entries[row.id]["best_value"] == pytest.approx(np.mean(fused.argmax(-1) == LABEL))
      yes = (own.sum(axis=1) > 0) == np.eye(own.shape[-1], dtype=bool)[LABEL]
      assert best["test/label/half_count"] == pytest.approx(yes.mean())
    assert best["test/label/synergy_subset/size"] == wrong.sum()
    assert best["test/label/synergy_subset/accuracy"] == pytest.approx(
      np.mean((fused.argmax(-1) == LABEL)[wrong])
    )
    strict = (every.argmax(-1) != LABEL[None, :, None]).all(axis=(0, 2))
    assert best["test/label/strict_subset/size"] == strict.sum()


def test_nothing_is_trained_again_and_a_row_that_comes_later_uses_what_is_there(tmp_path):
  first = Trainer()
  run(expand([FUSED, *UNIMODAL]), tmp_path, first)
  later, more = expand(ARMS), Trainer()
  end, _ = run(later, tmp_path, more)
  assert end.done == 3 and more.calls == []  # the mean alone, which trains nothing
  other = expand([*ARMS, {"arm": "second", "config": "supervised", "optim.lr": 0.1}])
  run(other, tmp_path, more)
  assert more.calls == [("supervised", "", (0, 1, 2))]


def test_a_kill_between_training_and_journal_leaves_what_the_next_start_uses(tmp_path):
  rows = expand(ARMS)
  with pytest.raises(KeyboardInterrupt):
    run(rows, tmp_path, Trainer({3: KeyboardInterrupt()}))
  trainer = Trainer()
  end, _ = run(rows, tmp_path, trainer)
  assert (end.done, end.failed) == (6, 0)
  assert trainer.calls == [("supervised", "", (0, 1, 2))]


def test_lost_predictions_are_made_again_and_failed_models_fail_what_they_judge(tmp_path, caplog):
  rows = expand(ARMS)
  end, entries = run(rows, tmp_path, Trainer({2: ValueError("broken")}))
  assert (end.done, end.failed) == (3, 9)
  failed = [r for r in rows if r.overrides["arm"] == "fused"]
  assert "unimodal models of rows" in entries[failed[0].id]["error"]
  assert run(rows, tmp_path, Trainer())[0].done == 9
  lost = next(row for row in rows if row.overrides["arm"] == "x1")
  (tmp_path / "predictions" / f"{lost.id}.npz").unlink()
  trainer = Trainer()
  assert run(rows, tmp_path, trainer)[0].done == 1 and "no predictions" in caplog.text
  assert trainer.calls == [("unimodal", "x1", (0,))]


def test_rows_that_were_scored_beside_other_models_are_trained_and_scored_again(tmp_path, caplog):
  rows = expand(ARMS)
  _, before = run(rows, tmp_path, Trainer())
  changed = next(row for row in rows if row.overrides["arm"] == "x1" and row.trial["seed"] == 0)
  path = tmp_path / "predictions" / f"{changed.id}.npz"
  found = dict(np.load(path))
  for name in ("test/unimodal", "test/logits"):  # as another machine might have it
    found[name] = -found[name]
  arrays.write(path, found)
  trainer = Trainer()
  end, after = run(rows, tmp_path, trainer)
  assert trainer.calls == [("supervised", "", (0,))] and end.done == 2  # and the mean of seed 0
  assert "other unimodal models" in caplog.text
  own = np.stack([-logits("unimodal", 0, "x1"), logits("unimodal", 0, "x2")], axis=1)
  wrong = (own.argmax(-1) != LABEL[:, None]).all(axis=1).sum()
  for row in rows:
    if row.overrides["arm"] in ("fused", "mean"):
      old, new = (e[row.id]["best"]["test/label/synergy_subset/size"] for e in (before, after))
      assert new == (wrong if row.trial["seed"] == 0 else old)
  assert run(rows, tmp_path, Trainer())[0].total == 0


def test_of_two_shards_one_trains_the_models_and_the_other_waits(tmp_path, monkeypatch, caplog):
  monkeypatch.setattr(judges, "_POLL_SECONDS", 0.01)
  rows, trainers = expand(ARMS), [Trainer(), Trainer()]
  shards = [plan.shard(plan.group(rows), i, 2) for i in range(2)]
  owners = [any(g[0].overrides["arm"] == "fused" for g in groups) for groups in shards]
  waiting = owners.index(True)
  ends = {}

  def work(index):
    ends[index] = run(rows, tmp_path, trainers[index], index, 2)[0]

  thread = threading.Thread(target=work, args=(waiting,), daemon=True)
  thread.start()
  thread.join(0.5)
  assert thread.is_alive() and "which another shard trains" in caplog.text
  work(1 - waiting)
  thread.join(10)
  assert not thread.is_alive() and sum(end.done for end in ends.values()) == 12
  calls = [call for trainer in trainers for call in trainer.calls]
  assert len(calls) == len(set(calls)) == 3


def test_other_settings_of_the_models_make_other_rows_and_more_seeds_do_not():
  ids = lambda rows: {r.trial["seed"]: r.id for r in rows if r.overrides["arm"] == "fused"}  # noqa: E731
  plain, more = ids(expand(ARMS)), ids(expand(ARMS, seeds=range(5)))
  assert plain.items() <= more.items()
  changed = [FUSED, *({**arm, "optim.lr": 0.1} for arm in UNIMODAL)]
  assert not set(ids(expand(changed)).values()) & set(plain.values())
  alone = expand([FUSED])
  assert alone[0].judges == () and alone[0].reads == {"data": "0123"}  # as without such rows


@pytest.mark.parametrize(
  ("arms", "said"),
  [
    ([FUSED, UNIMODAL[0]], r"of \['x1', 'x2'\] for seed 0, found \['x1'\]"),
    ([FUSED, *UNIMODAL, {**UNIMODAL[0], "optim.lr": 0.1}], r"found \['x1', 'x1', 'x2'\]"),
    ([{**FUSED, "role": "unimodal"}], "a method whose models share nothing, found supervised"),
    ([{**FUSED, "role": "judge"}], "role: expected unimodal, ensemble, found judge"),
    ([FUSED, *({**arm, "evaluators": ("classification",)} for arm in UNIMODAL)], "'predictions'"),
  ],
)
def test_rows_without_one_model_a_modality_are_refused_before_anything_is_trained(arms, said):
  with pytest.raises(ValueError, match=said):
    expand(arms)


def test_rows_on_other_examples_are_refused(tmp_path):
  rows = expand([FUSED, *UNIMODAL], seeds=(0,))

  def train(config, workdir, trials):
    same = config.method.name == "unimodal"
    return Trainer(label=LABEL if same else 1 - LABEL)(config, workdir, trials)

  end, entries = run(rows, tmp_path, train)
  assert end.failed == 1
  assert "expected the test labels of its unimodal models" in entries[rows[0].id]["error"]


def test_a_mean_is_over_the_models_of_the_modalities_that_an_example_has(tmp_path):
  rows = expand([*UNIMODAL, MEAN], seeds=(0,))
  run(rows, tmp_path, Trainer())
  path = tmp_path / "predictions" / f"{rows[1].id}.npz"
  arrays = dict(np.load(path))
  arrays["test/unimodal"][:10] = np.nan
  np.savez(path, **arrays)
  mean, _ = judges._mean(rows[2], tmp_path, "test")
  one = softmax(logits("unimodal", 0, "x1"), axis=-1)
  both = (one + softmax(logits("unimodal", 0, "x2"), axis=-1)) / 2
  np.testing.assert_allclose(np.exp(mean), np.where(np.arange(len(LABEL))[:, None] < 10, one, both))
  assert (
    synergy_subset.score(mean, np.stack([mean, mean], 1), LABEL)["synergy_subset/accuracy"] == 0
  )
