"""Reports of runs that go on: written when a file changed, shown to this machine only."""

import http.client
import urllib.error
import urllib.request

import pytest

from configs import published
from synjax import report
from synjax.report import live
from tests.report.workdirs import make_metrics, make_workdir


def test_it_is_written_again_when_a_run_is_further_and_only_then(tmp_path):
  workdir = make_workdir(tmp_path / "a", finished=False, steps=(10,))
  path = report.write_report([workdir], None, published.ROWS, refresh=10)
  assert 'http-equiv="refresh" content="10"' in path.with_name("report.html").read_text()
  seen, written = live.state([workdir]), []
  changes = iter(["nothing", "metrics", "nothing", "another run", "end"])

  def wait():
    change = next(changes)
    if change == "metrics":
      (workdir / "metrics.jsonl").write_text(make_metrics((42,), (10, 20)))
    elif change == "another run":
      make_workdir(tmp_path / "b")
    elif change == "end":
      raise KeyboardInterrupt

  def write():
    made = report.write_report([workdir], None, published.ROWS)
    written.append("step 20 of 100" in made.read_text())

  with pytest.raises(KeyboardInterrupt):
    live.watch(write, lambda: [f for f in (workdir, tmp_path / "b") if f.exists()], seen, wait=wait)
  assert written == [True, True]  # of the metrics and of the run that began


def test_a_page_is_shown_to_this_machine_and_nothing_else_is(tmp_path):
  (tmp_path / "secret").write_text("x")
  folder = tmp_path / "report"
  folder.mkdir()
  (folder / "report.html").write_text("<p>here</p>")
  with live.served(folder, 0) as address:
    assert address.startswith("http://127.0.0.1:")
    assert urllib.request.urlopen(address, timeout=5).read() == b"<p>here</p>"
    port = int(address.split(":")[2].split("/")[0])
    for path, host, status in (
      ("/", "127.0.0.1", 404),
      ("/../secret", "127.0.0.1", 404),
      ("/report.html", "evil.example", 403),  # a name that was made to lead here
      ("/report.html", "localhost", 200),
    ):
      connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
      connection.request("GET", path, headers={"Host": f"{host}:{port}"})
      assert connection.getresponse().status == status, path
    taken = f"expected one that is free, found {port} taken"
    with pytest.raises(OSError, match=taken), live.served(folder, port):
      pass
  with pytest.raises(urllib.error.URLError):
    urllib.request.urlopen(address, timeout=5)
