"""How to run: one record of deadlines, questions and limits, the same at every front door."""

import pickle
import threading

import pytest

import admm_verify as av
from admm_verify.run import Flag, Stopped
from admm_verify.threads import WORKER_PASS, workers_for
from tests.clocks import ticking


def yes() -> bool:
    return True


def no() -> bool:
    return False


@pytest.mark.parametrize(
    "field",
    [
        {"timeout": -1.0},
        {"timeout": "soon"},
        {"stop": True},
        {"tell": "me"},
        {"memory": 0.0},
        {"memory": float("nan")},
        {"threads": 0},
        {"threads": 2**100},
        {"threads": 1.5},
        {"deadline": "noon"},
    ],
)
def test_every_field_is_checked(field: dict) -> None:
    with pytest.raises(av.InputError, match="give"):
        av.Run(**field)


@pytest.mark.parametrize(
    "device", [1, "", "gpu", "CPU", " cpu", "meta", "cuda:", "cuda:-1", "cu\nda", "cuda:٣", "cuda\n", "cpu" * 99]
)
def test_no_run_has_a_device_that_there_is_not(device: object) -> None:
    with pytest.raises(
        av.InputError, match="is unknown; choose 'auto', 'cpu', 'cuda', 'cuda:N', several GPUs"
    ) as caught:
        av.Run(device=device)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    "device", ["cuda:0,cpu", "cuda,cuda:1", "cuda:0,", "cpu,cpu", "all", "cuda:0, cuda:1", "auto,cuda:1"]
)
def test_several_devices_are_numbered_gpus(device: str) -> None:
    with pytest.raises(av.InputError, match="several GPUs as in 'cuda:0,cuda:1', or all, 'cuda:all'"):
        av.Run(device=device)


@pytest.mark.parametrize("device", ["cuda:0,cuda:0", "cuda:2,cuda:1,cuda:02"])
def test_several_devices_are_different_ones(device: str) -> None:
    with pytest.raises(av.InputError, match="names a GPU twice"):
        av.Run(device=device)


def test_a_device_may_have_a_number() -> None:
    assert av.Run(device="cuda:0,cuda:11").device == "cuda:0,cuda:11" and av.Run(device="cuda:all").device == "cuda:all"
    assert av.Run(device="cuda:1").device == "cuda:1" and av.Run(device="cpu:0").device == "cpu:0"


def test_a_door_takes_nothing_else_for_a_run() -> None:
    with pytest.raises(av.InputError, match="run is 3"):
        av.Run.of(3)
    with pytest.raises(av.InputError, match="timeout"):
        av.Run.of(None, timeout=-1.0)


def test_time_begins_once_and_the_first_end_counts() -> None:
    with ticking():
        run = av.Run.of(av.Run(timeout=10.0), timeout=4.0)
        assert run.deadline == 5.0 and run.timeout is None
        assert av.Run.of(run).deadline == 5.0
        assert av.Run.of(run, timeout=0.5).deadline < 5.0
        assert av.Run.of(run, timeout=100.0).deadline == 5.0
        assert run.ended() is av.Ended.TIMED_OUT
    assert av.Run.of(None).deadline is None


def test_a_stop_comes_before_a_timeout() -> None:
    run = av.Run.of(av.Run(stop=yes, timeout=0.0))
    assert run.ended() is av.Ended.STOPPED and run.over()
    with pytest.raises(Stopped):
        run.check()
    av.Run.of(av.Run(stop=no)).check()


def test_a_stop_that_is_said_once_stays_said() -> None:
    answers = iter([False, True])
    run = av.Run.of(av.Run(stop=lambda: next(answers, False)))
    # Runs made of it share its answer.
    assert not run.over() and run.unless(no).over()
    assert run.ended() is av.Ended.STOPPED and av.Run.of(run).over() and run.within(0.5).over()
    flag = Flag()
    flag.set = True
    said = av.Run.of(av.Run(stop=flag))
    assert said.over() and pickle.loads(pickle.dumps(said)).over()


def test_a_device_of_the_door_replaces_that_of_the_run() -> None:
    run = av.Run(device="cuda")
    assert av.Run.of(run).device == "cuda" and av.Run.of(run, device="cpu").device == "cpu"


def test_other_questions_end_a_run_too() -> None:
    flag = Flag()
    run = av.Run.of(av.Run(stop=no)).unless(flag)
    assert not run.over()
    flag.set = True
    assert run.over() and av.Run().unless(flag).over()


def test_who_listens_is_told() -> None:
    told: list[av.Progress] = []
    run = av.Run(tell=told.append)
    run.say("half", 1, 2)
    run.silent().say("nothing")
    assert told == [av.Progress("half", 1, 2)]


def test_threads_ask_one_after_the_other() -> None:
    inside, most = [], []

    def stop() -> bool:
        inside.append(1)
        most.append(len(inside))
        inside.pop()
        return False

    run = av.Run.of(av.Run(stop=stop))
    # Runs made of it share its turn.
    runs = [run, run.unless(no), av.Run.of(run)]
    threads = [threading.Thread(target=lambda one=one: [one.over() for _ in range(300)]) for one in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1 and len(most) == 900


def test_a_run_without_functions_travels_with_the_time_that_is_left() -> None:
    flag = Flag()
    flag.set = True
    run = av.Run.of(av.Run(memory=2.0**30, threads=2, stop=no), timeout=100.0).unless(flag)
    with ticking():
        data = pickle.dumps(av.Run(deadline=11.0))
        assert pickle.loads(data).deadline == 12.0
    found = pickle.loads(pickle.dumps(run))
    assert found.memory == run.memory and found.threads == 2 and abs(found.deadline - run.deadline) < 50.0
    assert not found.over()


def test_every_end_says_what_to_do() -> None:
    assert av.Ended("timed-out") is av.Ended.TIMED_OUT
    assert {one for one in av.Ended if not one.advice} == {av.Ended.CONVERGED, av.Ended.COMPLETE}


def test_threads_limit_the_blocks_side_by_side() -> None:
    assert workers_for(100 * WORKER_PASS, 1) == 1
