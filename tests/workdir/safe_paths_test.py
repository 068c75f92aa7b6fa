"""What leads out of a folder or is no file is refused, wherever in it, before anything is opened."""

import os
import socket

import pytest

from synjax.workdir import safe_paths


def test_a_linked_folder_is_judged_by_where_it_leads(tmp_path):
  (tmp_path / "source" / "a").mkdir(parents=True)
  (tmp_path / "elsewhere").mkdir()
  (tmp_path / "source" / "inside").symlink_to("a", target_is_directory=True)
  safe_paths.require_inside(tmp_path / "source", "a", "inside", "missing")
  (tmp_path / "source" / "a" / "out").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
  with pytest.raises(safe_paths.UnsafeSourceError, match="elsewhere"):
    safe_paths.require_inside(tmp_path / "source", "a")
  with pytest.raises(safe_paths.UnsafeSourceError, match="elsewhere"):
    safe_paths.require_inside(tmp_path / "source", "a/../../elsewhere")


def test_a_folder_whose_name_begins_alike_is_outside(tmp_path):
  for name in ("source", "source_2"):
    (tmp_path / name).mkdir()
    (tmp_path / name / "file").write_text("")
  (tmp_path / "source" / "link").symlink_to("../source_2/file")
  safe_paths.require_inside(tmp_path / "source", "file")
  with pytest.raises(
    safe_paths.UnsafeSourceError, match=r"link: expected a path inside .*source_2"
  ):
    safe_paths.require_inside(tmp_path / "source", "link")


def test_a_special_file_is_found_at_any_depth_and_behind_a_link(tmp_path):
  deep = tmp_path / "a" / "b" / "c"
  deep.mkdir(parents=True)
  (deep / "file").write_text("")
  safe_paths.require_inside(tmp_path, ".")
  os.mkfifo(deep / "pipe")
  with pytest.raises(safe_paths.UnsafeSourceError, match="c/pipe: .*found a named pipe"):
    safe_paths.require_inside(tmp_path, "a")
  (tmp_path / "link").symlink_to("a/b/c/pipe")
  with pytest.raises(safe_paths.UnsafeSourceError, match="link: .*found a named pipe"):
    safe_paths.require_inside(tmp_path, "link")


def test_links_in_a_circle_end_and_what_is_not_there_is_left_to_the_reader(tmp_path):
  (tmp_path / "a").mkdir()
  (tmp_path / "a" / "up").symlink_to("..", target_is_directory=True)
  (tmp_path / "self").symlink_to("self")
  (tmp_path / "gone").symlink_to("a/nothing")
  safe_paths.require_inside(tmp_path, ".", "none")
  for name in ("none", "self", "gone", "a", "\0"):
    safe_paths.require_regular(tmp_path / name)


def test_each_kind_of_special_file_is_refused_by_its_name(tmp_path):
  with socket.socket(socket.AF_UNIX) as server:
    server.bind(str(tmp_path / "socket"))
  os.mkfifo(tmp_path / "pipe")
  for path, said in (
    (tmp_path / "socket", "a socket"),
    (tmp_path / "pipe", "a named pipe"),
    ("/dev/null", "a character device"),
  ):
    with pytest.raises(safe_paths.UnsafeSourceError, match=f"{path}: .*found {said}"):
      safe_paths.require_regular(path)
