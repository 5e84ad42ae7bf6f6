"""Measures the server on this machine, beside what the machine allows at best: ``python -m benchmarks``.

::

    __main__.py       the command
      cases.py        what is measured on one server: create, append, page, turn, stream, fanout, bytes, overload
      growth.py       the same operations with 10, 10,000 and 1,000,000 conversations in the database
      limits.py       bare SQLite, bare HTTP, the model server alone
        load.py       so many operations from so many clients, and how long they took
        client.py     the API as a client sees it
        processes.py  the server and the model server, started and stopped
        model_server.py    a model that answers at once
      report.py       the table, the JSON and the chart

Client, server and model server share the machine. Figures of different runs compare only if the machine was as fast:
each row has a calibration, the time that a fixed piece of Python took right before.
"""
