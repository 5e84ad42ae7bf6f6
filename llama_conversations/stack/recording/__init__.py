"""Record and replay of inference, for tests that ask no model: docs/testing.md tells users of it.

::

    inference      ``Inference`` around a provider's own: one line for each operation
    recorder       an operation's answer, asked for and kept, or replayed, as the mode says
    normal_form    a request without what differs from run to run: what recordings are found by
    folder         the files of one provider, one for each request
    answers        an answer, of one piece or many, with the failure that it ended in
    difference     what to show when nothing fits: the nearest recording, and how it differs
    credentials    what is left out of both, because it is nobody's business
    json_text      JSON as it is written here
"""
