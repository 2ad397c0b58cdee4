# Counts the words of every text in a folder, each in a sandbox, with a worker that keeps its tasks.
import asyncio
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from fogcompute import Worker

PIECE_BYTES = 1 << 20  # The longest input of one task.
# Counts words. It lies beside this folder; elsewhere put the path of your module here.
MODULE = Path(__file__).resolve().parents[1] / "wasm" / "words.wasm"


def pieces(text: bytes) -> list[bytes]:
    """Parts that one task takes each, cut where a word ends."""
    parts = []
    while len(text) > PIECE_BYTES:
        cut = max(text.rfind(space, 0, PIECE_BYTES) for space in (b" ", b"\n", b"\t"))
        cut = cut if cut > 0 else PIECE_BYTES
        parts.append(text[:cut])
        text = text[cut:]
    return [*parts, text]


async def main(folder: str = "docs", suffix: str = ".md") -> None:
    module = MODULE.read_bytes()
    files = sorted(path for path in Path(folder).rglob(f"*{suffix}") if path.is_file())
    parts = [(path, part) for path in files for part in pieces(path.read_bytes())]
    with TemporaryDirectory() as state:
        async with Worker(Path(state) / "tasks") as worker:
            results = await worker.map(module, [part for _, part in parts], progress=True)
    words = dict.fromkeys(files, 0)
    for (path, _), result in zip(parts, results, strict=True):
        words[path] += int.from_bytes(result.output, "little")
    for path, count in words.items():
        print(f"{count:8} {path}")
    print(f"{sum(words.values()):8} words in {len(files)} files")


asyncio.run(main(*sys.argv[1:]))
