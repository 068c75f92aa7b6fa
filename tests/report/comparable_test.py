from configs.published import Benchmark, Column
from synjax.report.comparable import columns_of, differences, read_field

BENCHMARK = Benchmark(
  source="paper",
  columns={
    "two": Column(("t",), {"data.modalities": ("a", "b")}, methods={"comm": {"optim.lr": 0.1}}),
    "three": Column(("t",), {"data.modalities": ("a", "b", "c")}),
  },
  rows={},
  classes={},
  setting={"protocol": "paper", "num_seeds": 5},
  otherwise={"cross": "encoders"},
)
CONFIG = {"protocol": "paper", "data": {"modalities": ["a", "b"]}, "optim": {"lr": 0.2}}


def read(name):
  return 5 if name == "num_seeds" else read_field(CONFIG, name)


def test_a_column_is_of_a_setting_and_a_method_differs_by_what_it_had_there():
  assert list(columns_of(BENCHMARK, read)) == ["two"]
  own = [BENCHMARK.columns["two"]]
  assert differences(BENCHMARK, own, "comm", read) == ["optim.lr 0.2 (published 0.1)"]
  assert differences(BENCHMARK, own, "infmasking", read) == []
  assert differences(BENCHMARK, own, "cross", read) == ["encoders"]


def test_a_field_left_to_the_protocol_is_what_that_says():
  config = CONFIG | {"probe": {"validation_search": None}}
  assert read_field(config, "probe.validation_search") == "fine"
  assert read_field(config, "data.modalities") == ("a", "b")
  assert read_field(config, "data.size.x") is None
