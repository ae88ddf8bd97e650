"""Every message as the exact bytes of protocol 2. Whoever changes one of these changes the protocol.

Reading them: ``\\x80`` + n is a map of n pairs, ``\\x90`` + n an array, ``\\xa0`` + n a text of n bytes, ``\\xd9`` a
text with one length byte (``@`` is 64, space is 32), ``\\xcd`` a 16-bit and ``\\xce`` a 32-bit unsigned integer,
``\\xcb`` a float64, ``\\xc2`` false, ``\\xc3`` true, ``\\xc0`` nil; all big-endian (the msgpack specification).
"""

from __future__ import annotations

import struct

import pytest

from rotomem_client.codec import MAGIC, Envelope, decode, encode
from rotomem_client.errors import InvalidValueError, ProtocolError
from rotomem_client.messages import (
    MESSAGE_TYPES,
    AnnotatedFrames,
    AnnotationContent,
    AnnotationStored,
    AnnotationUndone,
    Cancel,
    CancelAccepted,
    Chunk,
    Credit,
    ErrorReply,
    Event,
    FetchMatte,
    FileStored,
    FrameOffer,
    FramePrompted,
    FramesSuggested,
    FramesWanted,
    GetAnnotation,
    Goodbye,
    Hello,
    Introduce,
    JobAccepted,
    JobCancelled,
    JobFailed,
    JobFinished,
    JobResumed,
    Limits,
    ListMattes,
    ListSessions,
    MatteList,
    MatteReady,
    MattesOfRevision,
    MattesVectorized,
    Message,
    ObjectsStored,
    OfferFrames,
    OpenSession,
    Ping,
    Plate,
    Pong,
    Progress,
    PromptBox,
    PromptFrame,
    PromptPoint,
    Propagate,
    ProposeMotion,
    PruneStore,
    PutAnnotation,
    RedoAnnotation,
    RemoveAnnotation,
    RemoveObject,
    RemoveSession,
    RenameObject,
    ResumeJob,
    SessionList,
    SessionState,
    SetObjects,
    StoredSession,
    StorePruned,
    SuggestedFrame,
    SuggestFrames,
    TakeOver,
    UndoAnnotation,
    VectorizeMattes,
    WantedFile,
    Welcome,
)
from rotomem_client.shapes import ControlPoint, Outline, Shape

SHA = "ab" * 32
JOB = "0123456789abcdef" * 2
_SHA = SHA.encode()
_JOB = JOB.encode()

_LENS = Shape("lens", (ControlPoint((1.0, 2.0)), ControlPoint((3.0, 4.0), left=(-0.5, 0.0))), 0.5, True, "max", 2.0)
# Two points of 12 little-endian float64: centre, left, right, feather, feather left, feather right.
_LENS_POINTS = struct.pack("<12d", 1.0, 2.0, *[0.0] * 10) + struct.pack("<12d", 3.0, 4.0, -0.5, *[0.0] * 9)
_LEAF = (ControlPoint((1.0, 2.0), (-0.5, 0.0), (0.5, 0.0)), ControlPoint((3.0, 4.0)))
# Two points of 6 little-endian float64: centre, left, right; on each of three frames.
_LEAF_POINTS = struct.pack("<12d", 1.0, 2.0, -0.5, 0.0, 0.5, 0.0, 3.0, 4.0, *[0.0] * 4) * 3

GOLDEN: list[tuple[Message, bytes, tuple[bytes, ...]]] = [
    (
        Hello(1, 2, "nuke", "0.1.0", ("a",)),
        b"\x87\xa4type\xa5hello\xa2id\xa2ab\xacprotocol_min\x01\xacprotocol_max\x02\xa6client\xa4n"
        b"uke\xaeclient_version\xa50.1.0\xa8features\x91\xa1a",
        (),
    ),
    (
        Ping(),
        b"\x82\xa4type\xa4ping\xa2id\xa2ab",
        (),
    ),
    (
        OpenSession("sh010", Plate(1001, 1100, "/p.%04d.exr", "ACEScg", 1920, 1080, 2.0), ("hero", "car")),
        b"\x85\xa4type\xacopen_session\xa2id\xa2ab\xaasession_id\xa5sh010\xa5plate\x87\xa5first"
        b"\xcd\x03\xe9\xa4last\xcd\x04L\xa7pattern\xab/p.%04d.exr\xabcolourspace\xa6ACEScg\xa5widt"
        b"h\xcd\x07\x80\xa6height\xcd\x048\xacpixel_aspect\xcb@\x00\x00\x00\x00\x00\x00\x00\xa7obj"
        b"ects\x92\xa4hero\xa3car",
        (),
    ),
    (
        OfferFrames("sh010", "plate", (FrameOffer(1001, SHA, 300, ".exr"),)),
        b"\x85\xa4type\xacoffer_frames\xa2id\xa2ab\xaasession_id\xa5sh010\xa4role\xa5plate\xa6fram"
        b"es\x91\x84\xa5frame\xcd\x03\xe9\xa6sha256\xd9@" + _SHA + b"\xa4size\xcd\x01,\xa6suffix\xa4.exr",
        (),
    ),
    (
        PutAnnotation("sh010", 1001, "hero", shapes=(_LENS,)),
        b"\x89\xa4type\xaeput_annotation\xa2id\xa2ab\xaasession_id\xa5sh010\xa5frame\xcd\x03\xe9"
        b"\xabobject_name\xa4hero\xa6shapes\x91\x86\xa4name\xa4lens\xa6points\x02\xa7opacity\xcb?"
        b"\xe0\x00\x00\x00\x00\x00\x00\xa8inverted\xc3\xaablend_mode\xa3max\xaffeather_falloff\xcb@"
        b"\x00\x00\x00\x00\x00\x00\x00\xacalpha_sha256\xa0\xa6absent\xc2\xadbase_revision\xc0",
        (_LENS_POINTS,),
    ),
    (
        PutAnnotation("sh010", 1001, "hero", alpha_sha256=SHA, base_revision=4),
        b"\x89\xa4type\xaeput_annotation\xa2id\xa2ab\xaasession_id\xa5sh010\xa5frame\xcd\x03\xe9"
        b"\xabobject_name\xa4hero\xa6shapes\x90\xacalpha_sha256\xd9@" + _SHA + b"\xa6absent\xc2\xadbase_revision\x04",
        (),
    ),
    (
        PutAnnotation("sh010", 1001, "hero", absent=True),
        b"\x89\xa4type\xaeput_annotation\xa2id\xa2ab\xaasession_id\xa5sh010\xa5frame\xcd\x03\xe9"
        b"\xabobject_name\xa4hero\xa6shapes\x90\xacalpha_sha256\xa0\xa6absent\xc3\xadbase_revision"
        b"\xc0",
        (),
    ),
    (
        RemoveAnnotation("sh010", -5, "hero", 4),
        b"\x86\xa4type\xb1remove_annotation\xa2id\xa2ab\xaasession_id\xa5sh010\xa5frame\xfb\xabobje"
        b"ct_name\xa4hero\xadbase_revision\x04",
        (),
    ),
    (
        UndoAnnotation("sh010"),
        b"\x83\xa4type\xafundo_annotation\xa2id\xa2ab\xaasession_id\xa5sh010",
        (),
    ),
    (
        RedoAnnotation("sh010"),
        b"\x83\xa4type\xafredo_annotation\xa2id\xa2ab\xaasession_id\xa5sh010",
        (),
    ),
    (
        GetAnnotation("sh010", 1001, "hero"),
        b"\x85\xa4type\xaeget_annotation\xa2id\xa2ab\xaasession_id\xa5sh010\xa5frame\xcd\x03\xe9"
        b"\xabobject_name\xa4hero",
        (),
    ),
    (
        SetObjects("sh010", ("hero", "car")),
        b"\x84\xa4type\xabset_objects\xa2id\xa2ab\xaasession_id\xa5sh010\xa7objects\x92\xa4hero\xa3car",
        (),
    ),
    (
        RenameObject("sh010", "hero", "anna"),
        b"\x85\xa4type\xadrename_object\xa2id\xa2ab\xaasession_id\xa5sh010\xabobject_name\xa4hero\xa8new_name\xa4anna",
        (),
    ),
    (
        RemoveObject("sh010", "hero"),
        b"\x84\xa4type\xadremove_object\xa2id\xa2ab\xaasession_id\xa5sh010\xabobject_name\xa4hero",
        (),
    ),
    (
        TakeOver("sh010"),
        b"\x83\xa4type\xa9take_over\xa2id\xa2ab\xaasession_id\xa5sh010",
        (),
    ),
    (
        Propagate("sh010", 1001, 1003, 8, "xmem", "cuda:1", False, 1002, True, 480, False, "tuned-1", 2, True, "all"),
        b"\xde\x00\x11\xa4type\xa9propagate\xa2id\xa2ab\xaasession_id\xa5sh010\xa5first\xcd\x03"
        b"\xe9\xa4last\xcd\x03\xeb\xa7handles\x08\xa6engine\xa4xmem\xa6device\xa6cuda:1\xacrefine_"
        b"edges\xc2\xa5focus\xcd\x03\xea\xaaconfidence\xc3\xafprocessing_size\xcd\x01\xe0\xa4tune"
        b"\xc2\xa7weights\xa7tuned-1\xa8priority\x02\xa6remake\xc3\xa6motion\xa3all",
        (),
    ),
    (
        Propagate("sh010", 1001, 1003),
        b"\xde\x00\x11\xa4type\xa9propagate\xa2id\xa2ab\xaasession_id\xa5sh010\xa5first\xcd\x03"
        b"\xe9\xa4last\xcd\x03\xeb\xa7handles\x00\xa6engine\xa4auto\xa6device\xa4auto\xacrefine_ed"
        b"ges\xc3\xa5focus\xc0\xaaconfidence\xc2\xafprocessing_size\x00\xa4tune\xc3\xa7weights\xa0"
        b"\xa8priority\x01\xa6remake\xc2\xa6motion\xa3off",
        (),
    ),
    (
        SuggestFrames("sh010", 5, "auto", "cpu", "tuned-1", 2),
        b"\x88\xa4type\xaesuggest_frames\xa2id\xa2ab\xaasession_id\xa5sh010\xa5count\x05\xa7scoring"
        b"\xa4auto\xa6device\xa3cpu\xa7weights\xa7tuned-1\xa8priority\x02",
        (),
    ),
    (
        ProposeMotion("sh010", 1001, 1100, "dis", "cpu", False, 2, "xmem", "tuned-1"),
        b"\x8b\xa4type\xaepropose_motion\xa2id\xa2ab\xaasession_id\xa5sh010\xa5first\xcd\x03\xe9"
        b"\xa4last\xcd\x04L\xa4flow\xa3dis\xa6device\xa3cpu\xacrefine_edges\xc2\xa8priority\x02"
        b"\xa6engine\xa4xmem\xa7weights\xa7tuned-1",
        (),
    ),
    (
        PromptFrame("sh010", 1001, "hero", (PromptPoint(1.5, 2.0, False),), PromptBox(1.0, 2.0, 3.0, 4.0), "cpu"),
        b"\x88\xa4type\xacprompt_frame\xa2id\xa2ab\xaasession_id\xa5sh010\xa5frame\xcd\x03\xe9\xab"
        b"object_name\xa4hero\xa6points\x91\x83\xa1x\xcb?\xf8\x00\x00\x00\x00\x00\x00\xa1y\xcb@"
        b"\x00\x00\x00\x00\x00\x00\x00\xa6inside\xc2\xa3box\x84\xa4left\xcb?\xf0\x00\x00\x00\x00"
        b"\x00\x00\xa3top\xcb@\x00\x00\x00\x00\x00\x00\x00\xa5right\xcb@\x08\x00\x00\x00\x00\x00"
        b"\x00\xa6bottom\xcb@\x10\x00\x00\x00\x00\x00\x00\xa6device\xa3cpu",
        (),
    ),
    (
        FramePrompted("sh010", 1001, "hero", 0.5, b"exr"),
        b"\x87\xa4type\xaeframe_prompted\xa2id\xa2ab\xaasession_id\xa5sh010\xa5frame\xcd\x03\xe9"
        b"\xabobject_name\xa4hero\xa5score\xcb?\xe0\x00\x00\x00\x00\x00\x00\xa7payload\x03",
        (b"exr",),
    ),
    (
        VectorizeMattes("sh010", (7, 8, 10), "hero", 0.25),
        b"\x86\xa4type\xb0vectorize_mattes\xa2id\xa2ab\xaasession_id\xa5sh010\xa6frames\x94\x07\x08\n\n"
        b"\xabobject_name\xa4hero\xa9tolerance\xcb?\xd0\x00\x00\x00\x00\x00\x00",
        (),
    ),
    (
        MattesVectorized("sh010", "hero", (Outline("hero1", True, (7, 8, 10), (_LEAF,) * 3),)),
        b"\x85\xa4type\xb1mattes_vectorized\xa2id\xa2ab\xaasession_id\xa5sh010\xabobject_name\xa4hero"
        b"\xa8outlines\x91\x84\xa4name\xa5hero1\xa4hole\xc3\xa6frames\x94\x07\x08\n\n\xa6points\x02",
        (_LEAF_POINTS,),
    ),
    (
        Cancel(JOB),
        b"\x83\xa4type\xa6cancel\xa2id\xa2ab\xa6job_id\xd9 " + _JOB,
        (),
    ),
    (
        ResumeJob(JOB, (1001, 1002, 1003, 1007)),
        b"\x84\xa4type\xaaresume_job\xa2id\xa2ab\xa6job_id\xd9 "
        + _JOB
        + b"\xa4have\x94\xcd\x03\xe9\xcd\x03\xeb\xcd\x03\xef\xcd\x03\xef",
        (),
    ),
    (
        ListMattes("sh010", 7, 1001, True),
        b"\x86\xa4type\xablist_mattes\xa2id\xa2ab\xaasession_id\xa5sh010\xa8revision\x07\xa5after"
        b"\xcd\x03\xe9\xa5older\xc3",
        (),
    ),
    (
        FetchMatte("sh010", 7, 1001, SHA, 65536),
        b"\x87\xa4type\xabfetch_matte\xa2id\xa2ab\xaasession_id\xa5sh010\xa8revision\x07\xa5frame"
        b"\xcd\x03\xe9\xa6sha256\xd9@" + _SHA + b"\xa6offset\xce\x00\x01\x00\x00",
        (),
    ),
    (
        ListSessions("sh010"),
        b"\x83\xa4type\xadlist_sessions\xa2id\xa2ab\xa5after\xa5sh010",
        (),
    ),
    (
        RemoveSession("sh010"),
        b"\x83\xa4type\xaeremove_session\xa2id\xa2ab\xaasession_id\xa5sh010",
        (),
    ),
    (
        PruneStore(1000),
        b"\x83\xa4type\xabprune_store\xa2id\xa2ab\xaakeep_bytes\xcd\x03\xe8",
        (),
    ),
    (
        Chunk(SHA, 4, b"RGBA"),
        b"\x85\xa4type\xa5chunk\xa2id\xa2ab\xa6sha256\xd9@" + _SHA + b"\xa6offset\x04\xa7payload\x04",
        (b"RGBA",),
    ),
    (
        Credit(8388608),
        b"\x83\xa4type\xa6credit\xa2id\xa0\xa7granted\xce\x00\x80\x00\x00",
        (),
    ),
    (
        Introduce("c1", "anna on ws12"),
        b"\x84\xa4type\xa9introduce\xa2id\xa0\xa9client_id\xa2c1\xa4user\xacanna on ws12",
        (),
    ),
    (
        Goodbye(),
        b"\x82\xa4type\xa7goodbye\xa2id\xa0",
        (),
    ),
    (
        Welcome(
            1, "0.1.0", "e1", ("xmem", "warp"), "xmem", "cuda", Limits(65536, 4194304, 1048576, 8, 64, 8388608), ()
        ),
        b"\x8a\xa4type\xa7welcome\xa2id\xa2ab\xa8protocol\x01\xaeserver_version\xa50.1.0\xa5epoch"
        b"\xa2e1\xa7engines\x92\xa4xmem\xa4warp\xaedefault_engine\xa4xmem\xa6device\xa4cuda\xa6lim"
        b"its\x86\xacheader_bytes\xce\x00\x01\x00\x00\xaapart_bytes\xce\x00@\x00\x00\xabchunk_byte"
        b"s\xce\x00\x10\x00\x00\xa5parts\x08\xb0pending_requests@\xacwindow_bytes\xce\x00\x80\x00"
        b"\x00\xa8features\x90",
        (),
    ),
    (
        Pong("busy"),
        b"\x83\xa4type\xa4pong\xa2id\xa2ab\xa6worker\xa4busy",
        (),
    ),
    (
        SessionState(
            *("sh010", 3, ("hero",), (AnnotatedFrames("hero", (1, 5)),), True, (), 2, (1, 2, 3), "/m.%04d.exr"),
            *((MattesOfRevision(2, (1, 2, 3)),), (2, 3), "why", "anna on ws12", 1.5, True, True, False),
        ),
        b"\xde\x00\x13\xa4type\xadsession_state\xa2id\xa2ab\xaasession_id\xa5sh010\xa8revision\x03"
        b"\xa7objects\x91\xa4hero\xabannotations\x91\x82\xabobject_name\xa4hero\xa6frames\x94\x01"
        b"\x01\x05\x05\xadplate_visible\xc3\xacplate_frames\x90\xaematte_revision\x02\xa6mattes\x92"
        b"\x01\x03\xadmatte_pattern\xab/m.%04d.exr\xa5shown\x91\x82\xa8revision\x02\xa6frames\x92"
        b"\x01\x03\xa5stale\x92\x02\x03\xacstale_reason\xa3why\xa6writer\xacanna on ws12\xacwriter_"
        b"since\xcb?\xf8\x00\x00\x00\x00\x00\x00\xa7writing\xc3\xa8can_undo\xc3\xa8can_redo\xc2",
        (),
    ),
    (
        FramesWanted((1001,), (WantedFile(SHA, 128),)),
        b"\x84\xa4type\xadframes_wanted\xa2id\xa2ab\xa4have\x92\xcd\x03\xe9\xcd\x03\xe9\xa4send"
        b"\x91\x82\xa6sha256\xd9@" + _SHA + b"\xa6offset\xcc\x80",
        (),
    ),
    (
        FileStored(SHA, 300),
        b"\x84\xa4type\xabfile_stored\xa2id\xa2ab\xa6sha256\xd9@" + _SHA + b"\xa4size\xcd\x01,",
        (),
    ),
    (
        AnnotationStored("sh010", 4),
        b"\x84\xa4type\xb1annotation_stored\xa2id\xa2ab\xaasession_id\xa5sh010\xa8revision\x04",
        (),
    ),
    (
        AnnotationUndone("sh010", 4, 1001, "hero", "none"),
        b"\x87\xa4type\xb1annotation_undone\xa2id\xa2ab\xaasession_id\xa5sh010\xa8revision\x04\xa5f"
        b"rame\xcd\x03\xe9\xabobject_name\xa4hero\xa3now\xa4none",
        (),
    ),
    (
        AnnotationContent("sh010", 4, 1001, "hero", "shapes", (_LENS,)),
        b"\x89\xa4type\xb2annotation_content\xa2id\xa2ab\xaasession_id\xa5sh010\xa8revision\x04\xa5"
        b"frame\xcd\x03\xe9\xabobject_name\xa4hero\xa7content\xa6shapes\xa6shapes\x91\x86\xa4name"
        b"\xa4lens\xa6points\x02\xa7opacity\xcb?\xe0\x00\x00\x00\x00\x00\x00\xa8inverted\xc3\xaable"
        b"nd_mode\xa3max\xaffeather_falloff\xcb@\x00\x00\x00\x00\x00\x00\x00\xacalpha_sha256\xa0",
        (_LENS_POINTS,),
    ),
    (
        ObjectsStored("sh010", 4, ("hero", "car")),
        b"\x85\xa4type\xaeobjects_stored\xa2id\xa2ab\xaasession_id\xa5sh010\xa8revision\x04\xa7obje"
        b"cts\x92\xa4hero\xa3car",
        (),
    ),
    (
        SessionList((StoredSession("sh010", 4, 1000, 2.5),), False),
        b"\x84\xa4type\xacsession_list\xa2id\xa2ab\xa8sessions\x91\x84\xaasession_id\xa5sh010\xa8re"
        b"vision\x04\xa4size\xcd\x03\xe8\xa7used_at\xcb@\x04\x00\x00\x00\x00\x00\x00\xa4more\xc2",
        (),
    ),
    (
        StorePruned(3, 1000),
        b"\x84\xa4type\xacstore_pruned\xa2id\xa2ab\xa5files\x03\xa4size\xcd\x03\xe8",
        (),
    ),
    (
        JobAccepted(JOB, 4),
        b"\x84\xa4type\xacjob_accepted\xa2id\xa2ab\xa6job_id\xd9 " + _JOB + b"\xa8revision\x04",
        (),
    ),
    (
        CancelAccepted(JOB),
        b"\x83\xa4type\xafcancel_accepted\xa2id\xa2ab\xa6job_id\xd9 " + _JOB,
        (),
    ),
    (
        JobResumed(JOB, "running"),
        b"\x84\xa4type\xabjob_resumed\xa2id\xa2ab\xa6job_id\xd9 " + _JOB + b"\xa5state\xa7running",
        (),
    ),
    (
        MatteList((MatteReady(JOB, "sh010", 1, 4, SHA, 9, "/m.exr", True, "warp", 3, True, 0.5, True),), False),
        b"\x84\xa4type\xaamatte_list\xa2id\xa2ab\xa6mattes\x91\x8d\xa6job_id\xd9 "
        + _JOB
        + b"\xaasession_id\xa5sh010\xa5frame\x01\xa8revision\x04\xa6sha256\xd9@"
        + _SHA
        + b"\xa4size\t\xa4path\xa6/m.exr\xa9annotated\xc3\xa6engine\xa4warp\xadmade_revision\x03\xa5s"
        b"tale\xc3\xaaconfidence\xcb?\xe0\x00\x00\x00\x00\x00\x00\xa7preview\xc3\xa4more\xc2",
        (),
    ),
    (
        ErrorReply("PLATE_MISSING", "frame 7 is missing"),
        b"\x84\xa4type\xa5error\xa2id\xa2ab\xa4code\xadPLATE_MISSING\xa7message\xb2frame 7 is missing",
        (),
    ),
    (
        Progress(JOB, 3, 10, "propagating", 2.5),
        b"\x87\xa4type\xa8progress\xa2id\xa0\xa6job_id\xd9 "
        + _JOB
        + b"\xa4done\x03\xa5total\n\xa5phase\xabpropagating\xb1frames_per_second\xcb@\x04\x00\x00"
        b"\x00\x00\x00\x00",
        (),
    ),
    (
        MatteReady(JOB, "sh010", 1001, 4, SHA, 300, "/m.1001.exr", False, "warp", 3, True, 0.5, True),
        b"\x8f\xa4type\xabmatte_ready\xa2id\xa0\xa6job_id\xd9 "
        + _JOB
        + b"\xaasession_id\xa5sh010\xa5frame\xcd\x03\xe9\xa8revision\x04\xa6sha256\xd9@"
        + _SHA
        + b"\xa4size\xcd\x01,\xa4path\xab/m.1001.exr\xa9annotated\xc2\xa6engine\xa4warp\xadmade_revis"
        b"ion\x03\xa5stale\xc3\xaaconfidence\xcb?\xe0\x00\x00\x00\x00\x00\x00\xa7preview\xc3",
        (),
    ),
    (
        JobFinished(JOB, (1, 2, 3), "warp", "", 1.5, ("frame 2: NaN",)),
        b"\x88\xa4type\xacjob_finished\xa2id\xa0\xa6job_id\xd9 "
        + _JOB
        + b"\xa6frames\x92\x01\x03\xa6engine\xa4warp\xaeweights_sha256\xa0\xa7seconds\xcb?\xf8\x00"
        b"\x00\x00\x00\x00\x00\xa8warnings\x91\xacframe 2: NaN",
        (),
    ),
    (
        FramesSuggested(JOB, (SuggestedFrame(1002, 0.5, "unlike"),)),
        b"\x84\xa4type\xb0frames_suggested\xa2id\xa0\xa6job_id\xd9 "
        + _JOB
        + b"\xabsuggestions\x91\x83\xa5frame\xcd\x03\xea\xa5score\xcb?\xe0\x00\x00\x00\x00\x00\x00"
        b"\xa6reason\xa6unlike",
        (),
    ),
    (
        JobFailed(JOB, "DISK_FULL", "free some space"),
        b"\x85\xa4type\xaajob_failed\xa2id\xa0\xa6job_id\xd9 "
        + _JOB
        + b"\xa4code\xa9DISK_FULL\xa7message\xaffree some space",
        (),
    ),
    (
        JobCancelled(JOB, 4),
        b"\x84\xa4type\xadjob_cancelled\xa2id\xa0\xa6job_id\xd9 " + _JOB + b"\xa4done\x04",
        (),
    ),
]

PROTOCOL_1: list[tuple[Message, bytes, tuple[bytes, ...]]] = [
    (
        PutAnnotation("sh010", 1001, "hero", shapes=(_LENS,)),
        b"\x88\xa4type\xaeput_annotation\xa2id\xa2ab\xaasession_id\xa5sh010\xa5frame\xcd\x03\xe9"
        b"\xabobject_name\xa4hero\xa6shapes\x91\x86\xa4name\xa4lens\xa6points\x02\xa7opacity\xcb?"
        b"\xe0\x00\x00\x00\x00\x00\x00\xa8inverted\xc3\xaablend_mode\xa3max\xaffeather_falloff\xcb"
        b"@\x00\x00\x00\x00\x00\x00\x00\xacalpha_sha256\xa0\xa6absent\xc2",
        (_LENS_POINTS,),
    ),
    (
        PutAnnotation("sh010", 1001, "hero", alpha_sha256=SHA),
        b"\x88\xa4type\xaeput_annotation\xa2id\xa2ab\xaasession_id\xa5sh010\xa5frame\xcd\x03\xe9"
        b"\xabobject_name\xa4hero\xa6shapes\x90\xacalpha_sha256\xd9@" + _SHA + b"\xa6absent\xc2",
        (),
    ),
    (
        PutAnnotation("sh010", 1001, "hero", absent=True),
        b"\x88\xa4type\xaeput_annotation\xa2id\xa2ab\xaasession_id\xa5sh010\xa5frame\xcd\x03\xe9"
        b"\xabobject_name\xa4hero\xa6shapes\x90\xacalpha_sha256\xa0\xa6absent\xc3",
        (),
    ),
    (
        RemoveAnnotation("sh010", -5, "hero"),
        b"\x85\xa4type\xb1remove_annotation\xa2id\xa2ab\xaasession_id\xa5sh010\xa5frame\xfb\xabobject_name\xa4hero",
        (),
    ),
    (
        Propagate("sh010", 1001, 1003, 8, "warp", "cuda:1", False),
        b"\x89\xa4type\xa9propagate\xa2id\xa2ab\xaasession_id\xa5sh010\xa5first\xcd\x03\xe9\xa4las"
        b"t\xcd\x03\xeb\xa7handles\x08\xa6engine\xa4warp\xa6device\xa6cuda:1\xacrefine_edges\xc2",
        (),
    ),
    (
        ListMattes("sh010", 7, 1001),
        b"\x85\xa4type\xablist_mattes\xa2id\xa2ab\xaasession_id\xa5sh010\xa8revision\x07\xa5after\xcd\x03\xe9",
        (),
    ),
    (
        SessionState("sh010", 3, ("hero",), (AnnotatedFrames("hero", (1, 5)),), True, (), 2, (1, 2, 3), "/m.%04d.exr"),
        b"\x8b\xa4type\xadsession_state\xa2id\xa2ab\xaasession_id\xa5sh010\xa8revision\x03\xa7obje"
        b"cts\x91\xa4hero\xabannotations\x91\x82\xabobject_name\xa4hero\xa6frames\x94\x01\x01\x05"
        b"\x05\xadplate_visible\xc3\xacplate_frames\x90\xaematte_revision\x02\xa6mattes\x92\x01"
        b"\x03\xadmatte_pattern\xab/m.%04d.exr",
        (),
    ),
    (
        MatteList((MatteReady(JOB, "sh010", 1, 4, SHA, 9, "/m.exr", True, "warp"),), False),
        b"\x84\xa4type\xaamatte_list\xa2id\xa2ab\xa6mattes\x91\x89\xa6job_id\xd9 "
        + _JOB
        + b"\xaasession_id\xa5sh010\xa5frame\x01\xa8revision\x04\xa6sha256\xd9@"
        + _SHA
        + b"\xa4size\t\xa4path\xa6/m.exr\xa9annotated\xc3\xa6engine\xa4warp\xa4more\xc2",
        (),
    ),
    (
        MatteReady(JOB, "sh010", 1001, 4, SHA, 300, "/m.1001.exr", False, "warp"),
        b"\x8b\xa4type\xabmatte_ready\xa2id\xa0\xa6job_id\xd9 "
        + _JOB
        + b"\xaasession_id\xa5sh010\xa5frame\xcd\x03\xe9\xa8revision\x04\xa6sha256\xd9@"
        + _SHA
        + b"\xa4size\xcd\x01,\xa4path\xab/m.1001.exr\xa9annotated\xc2\xa6engine\xa4warp",
        (),
    ),
]


def _request_id(message: Message) -> str:
    return "" if isinstance(message, (Event, Credit, Goodbye, Introduce)) else "ab"


@pytest.mark.parametrize(("message", "header", "bulk"), GOLDEN, ids=[type(entry[0]).__name__ for entry in GOLDEN])
def test_a_message_is_these_bytes_and_back(message: Message, header: bytes, bulk: tuple[bytes, ...]) -> None:
    parts = [b"RM1", header, *bulk]
    assert encode(message, _request_id(message)) == parts
    assert decode(parts) == Envelope(message, _request_id(message))


@pytest.mark.parametrize(
    ("message", "header", "bulk"), PROTOCOL_1, ids=[type(entry[0]).__name__ for entry in PROTOCOL_1]
)
def test_an_older_client_is_understood_and_answered_in_its_own_words(
    message: Message, header: bytes, bulk: tuple[bytes, ...]
) -> None:
    parts = [b"RM1", header, *bulk]
    assert encode(message, _request_id(message), 1) == parts
    assert decode(parts, 1) == Envelope(message, _request_id(message))
    with pytest.raises(ProtocolError, match="missing or unknown"):
        decode(parts)


def test_what_an_older_client_cannot_know_is_not_said_to_it() -> None:
    with pytest.raises(InvalidValueError, match="protocol 1 has no message undo_annotation"):
        encode(UndoAnnotation("sh010"), "ab", 1)
    with pytest.raises(ProtocolError, match="no message of type 'undo_annotation'"):
        decode(encode(UndoAnnotation("sh010"), "ab"), 1)


def test_every_message_type_is_pinned() -> None:
    assert {type(entry[0]) for entry in GOLDEN} == set(MESSAGE_TYPES.values())
    assert MAGIC == b"RM1"
