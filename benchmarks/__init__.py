"""Measures the server on this machine, beside what the machine allows at best: ``python -m benchmarks``.

::

    __main__.py         the command
      cases.py          what is measured on one server: create, append, page, turn, fanout, bytes
      pressure.py       overload, and the soak
      workers.py        several processes of a server
      growth.py         the operations with 10, 10,000 and 1,000,000 conversations in the database
      limits.py         the database's driver alone, bare HTTP, the model server alone
        stage.py        a server on a database, with its clients
        load.py         so many operations from so many clients, how long they took, and whose CPU time
        databases.py    what a database to measure on can do: sqlite.py, postgres.py, postgres_programs.py
        copies.py       very many conversations at once
        client.py       the API as a client sees it
        processes.py    the server and the model server, started and stopped; process_tree.py: what they cost
        model_server.py     a model that answers at once
      report.py         the table, the JSON and the chart

Client, server and model server share the machine. Figures of different runs compare only if the machine was as fast:
each row has a calibration, the time that a fixed piece of Python took right before.
"""
