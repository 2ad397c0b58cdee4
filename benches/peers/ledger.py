"""Transfers through Python's own `sqlite3`, for `cargo xtask bench ledger` to measure.

Says the version of its SQLite first. Then, for each line `{"path", "batch", "count"}` it reads, opens
the database of that path, which must have the schema of `benches/src/ledger/schema.sql`, makes `count`
transfers in transactions of `batch`, and answers with `{"nanos": wall time}`.
"""

import json
import random
import sqlite3
import sys
import time

ACCOUNTS = 1000


def run(path, batch, count):
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    chance = random.Random(7)
    start = time.perf_counter_ns()
    done = 0
    while done < count:
        connection.execute("BEGIN IMMEDIATE")
        for _ in range(min(batch, count - done)):
            debit = chance.randrange(ACCOUNTS)
            credit = (debit + 1 + chance.randrange(ACCOUNTS - 1)) % ACCOUNTS
            connection.execute(
                "INSERT INTO transfer VALUES (?, ?, ?, 1, 1, 5)",
                (chance.randbytes(16), debit + 1, credit + 1),
            )
            connection.execute(
                "UPDATE account SET debits = debits + 1 WHERE id = ?", (debit + 1,)
            )
            connection.execute(
                "UPDATE account SET credits = credits + 1 WHERE id = ?", (credit + 1,)
            )
            done += 1
        connection.execute("COMMIT")
    nanos = time.perf_counter_ns() - start
    connection.close()
    return nanos


def main():
    answer(sqlite3.sqlite_version)
    for line in sys.stdin:
        order = json.loads(line)
        answer({"nanos": run(order["path"], order["batch"], order["count"])})


def answer(value):
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    main()
