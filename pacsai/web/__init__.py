"""The web port: instances by STOW-RS (PS3.18 10.5), and whether the node is well.

server      the thread that listens; its doorstep for connections that have not asked for anything yet
app         the paths, who may use them, and how a request that is not read to its end is answered
stow        one Store transaction: the body as it streams in, and the answer to it
multipart   the parts of a multipart/related body, in bounded memory
instance    one part: a PS3.10 file on its way to the spool
answer      the Store Instances Response (PS3.18 table 10.5.3-2)
"""
