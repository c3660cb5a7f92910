"""From a CSV of `bench` to a machine's file."""

from pathlib import Path

import pytest
from bench import COLUMNS, main
from click.testing import CliRunner

from sailsim.sim.machine.system_files import load_system

HEAD = """# cpu: Neoverse-N1 0x41 0xd0c
# cores: 64, kernel 6.1
# compiler: g++ 14
# date: 2026-11-29
"""
ROWS = f"""{COLUMNS}
stream,read,1,,,,1000,100,,0
stream,read,64,,,,1024,10,,0
stream,write,64,,,,512,10,,0
gemv,q4_0,1,1,,8000,4000,1000,aa,0
gemv,q4_0,64,1,,9600,1280,10,aa,0
gemv,q4_0,64,4,,9600,1600,10,bb,0
attention,fp16/32,1,1,512,10000,500,2000,cc,
attention,fp16/32,1,1,4096,10000,500,1000,dd,
attention,fp16/32,16,1,4096,10000,500,100,dd,
"""


@pytest.fixture
def told(tmp_path: Path):
    """Runs the script on a text."""

    def run(text: str):
        (tmp_path / "bench.csv").write_text(text)
        return CliRunner().invoke(main, [str(tmp_path / "bench.csv"), "--out", str(tmp_path / "mine.toml")])

    return run


def test_rates_and_the_machine(told, tmp_path):
    done = told(HEAD + ROWS)
    assert done.exit_code == 0, done.output
    # 2.5 GHz and 32 products a cycle of each of 64 cores, 204.8 GB/s.
    assert "gemv,q4_0,64,1,0,128,0.625,6,0.1875" in done.output
    assert "stream,read,64,0,0,102.4,0.5,0,0" in done.output
    mine = load_system(str(tmp_path / "mine.toml"))
    assert (mine.memory.read_share.value, mine.memory.write_share.value) == (0.5, 0.25)
    assert mine.memory.core_share.value == 0.625
    assert (mine.host.attention_rate.value, mine.host.attention_rate.kind) == (4, "measured")
    assert "Neoverse-N1" in mine.citation(mine.memory.read_share.source)
    assert mine.cores == load_system("graviton2").cores


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("what\n", "is no CSV of bench"),
        (HEAD + ROWS.replace("macs,bytes", "bytes,macs"), "is no CSV of bench"),
        (HEAD + ROWS.replace("aa,0", "aa,2"), "row 4 has 2 wrong results"),
        (
            HEAD + ROWS.replace("10,aa", "10,ab"),
            "row 5, gemv q4_0 1 0, has result ab and with other threads aa",
        ),
        (HEAD + ROWS.replace("1000,100,", "1000,x,"), "allowed are whole numbers"),
        (HEAD + ROWS.replace("100,dd", "0,dd"), "row 9 has 0 wrong results, 16 threads and 0 ns"),
        (HEAD + ROWS.replace("fp16/32,1,", "fp16/32,2,"), "no row of bench gives attention_rate"),
    ],
)
def test_other_files_are_one_sentence(told, tmp_path, text, why):
    done = told(text)
    assert done.exit_code == 1
    assert done.output.splitlines()[-1].startswith("Error: ")
    assert why in done.output
    assert not (tmp_path / "mine.toml").exists()
