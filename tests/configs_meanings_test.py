from configs import meanings

TEXT = """
def get_config():
  # Words before
  # in two lines.
  config.a = 1
  config.b.c = 2
  config.d = 3  # beside it
  config.e = 4

  config.f = 5
  config.g = (
    6  # of the value
  )
  # Of something else.
  config.update({})
  config.h = 7
"""


def test_words_belong_to_the_line_or_to_the_lines_that_follow():
  found = meanings._read(TEXT)
  assert found == {
    "a": "Words before in two lines.",
    "b.c": "Words before in two lines.",
    "d": "beside it",
    "g": "of the value",
  }


def test_words_of_the_files_that_all_share_come_first_and_methods_have_their_table(tmp_path):
  (tmp_path / "mine.py").write_text("  config.seed = 1  # mine\n  config.data.own = 2  # own\n")
  found = meanings.of("comm", str(tmp_path / "mine.py"))
  assert found["seed"] == "first seed" and found["data.own"] == "own"
  assert found["method.temperature"] == "tau > 0 of the cosines"
