"""The receiver: C-ECHO, C-STORE and notices (DIMSE-N) as an SCP, every data set kept as it was sent.

A thread of the node (`gate`) listens, and hands each connection to one of several processes (`worker`), which hold the
associations and write what comes to the spool. Does not decode images, and knows nothing of what happens to a study
later. docs/decisions/0005 says why it is built so.

    gate          listening, sharing connections out, the limits of the whole node, entering what was kept
    worker        one process: its doorstep, its associations, each in a thread
    doorstep      connections that have not asked for an association yet
    negotiation   what the node agrees to
    association   the messages of one association
    storing       C-STORE: what is kept, and with which status a request ends
    wire, commands, channel, telling    PDUs, command sets, messages between the processes, refusals in stories
"""

from pacsai.dicom.scp.gate import Receiver

__all__ = ["Receiver"]
