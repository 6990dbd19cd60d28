//! Every file below `refused/`, and the one line with which a reader refuses it.

/// Path and error.
pub const REFUSED: &[(&str, &str)] = &[
    (
        "frame/bomb",
        "The frame is malformed: it yields more bytes than its objects have",
    ),
    (
        "frame/cut",
        "The frame is malformed: it does not decompress: incomplete frame",
    ),
    (
        "frame/goes-on",
        "The frame is malformed: it goes on after its last object",
    ),
    (
        "frame/not-zstd",
        "The frame is malformed: it does not decompress: Unknown frame descriptor",
    ),
    (
        "frame/other-content",
        "Object 87854d2ce08184c2b137c2d95b60392be88e7fdfb23fa798085ec9caae86fa0b is damaged: its content has the id cec1a4d20825e954ff48671a92ff9e82e36530973b6f4caf1687bfe3203877ed",
    ),
    (
        "frame/too-short",
        "The frame is malformed: it ends before its last object does",
    ),
    (
        "frame/two-zstd-frames",
        "The frame is malformed: it ends before its last object does",
    ),
    (
        "frame/window-above-index",
        "The frame is malformed: it does not decompress: Frame requires too much memory for decoding",
    ),
    (
        "head/altered",
        "The head is not signed by the trusted key: The signature verification failed",
    ),
    (
        "head/carriage-return",
        "The head is malformed: it is not written in the one accepted form: plain decimal numbers, one newline after each line",
    ),
    (
        "head/delta-from-itself",
        "The head is malformed: a delta does not come from an older generation",
    ),
    (
        "head/generation-above-serial",
        "The head is malformed: its serial and its generation do not fit each other",
    ),
    (
        "head/leading-zero",
        "The head is malformed: it is not written in the one accepted form: plain decimal numbers, one newline after each line",
    ),
    (
        "head/line-missing",
        "The head is malformed: it has no line `content` where one belongs",
    ),
    (
        "head/model-name",
        "The head is malformed: its model name is not 1 to 64 letters, digits, `.`, `_` or `-`",
    ),
    (
        "head/other-key",
        "The head is not signed by the trusted key: The signature was created with a different key than the one provided",
    ),
    (
        "head/pack-twice",
        "The head is malformed: it names a pack or a delta twice",
    ),
    (
        "head/plus-sign",
        "The head is malformed: it is not written in the one accepted form: plain decimal numbers, one newline after each line",
    ),
    (
        "head/prelude-too-long",
        "The head is malformed: a pack's prelude is longer than the pack, or too short for an index",
    ),
    (
        "head/signature-cut",
        "The head is not signed by the trusted key: its signature is not four lines, each ended by one newline",
    ),
    (
        "head/signature-goes-on",
        "The head is not signed by the trusted key: its signature is not four lines, each ended by one newline",
    ),
    (
        "head/unsigned",
        "The head is not signed by the trusted key: it carries no signature",
    ),
    (
        "head/version-2",
        "The head has format version 2, this program reads 1: install a newer reclone on this machine",
    ),
    (
        "manifest/content-sum",
        "The manifest is malformed: the sum of its contents is not what its header says",
    ),
    ("manifest/cut", "The manifest is malformed: it ends early"),
    (
        "manifest/device",
        "The manifest is malformed: /a: its device number is not one that Linux can hold",
    ),
    (
        "manifest/empty-with-id",
        "The manifest is malformed: /a: its size and its id disagree about whether it is empty",
    ),
    (
        "manifest/first-not-top",
        "The manifest is malformed: /a: the first entry is not the top directory",
    ),
    (
        "manifest/goes-on",
        "The manifest is malformed: it goes on after its last entry",
    ),
    (
        "manifest/link-ahead",
        "The manifest is malformed: /a: it links to entry 2, which is not the first name of an earlier file",
    ),
    (
        "manifest/link-to-directory",
        "The manifest is malformed: /a: it links to entry 0, which is not the first name of an earlier file",
    ),
    (
        "manifest/link-to-itself",
        "The manifest is malformed: /a: it links to entry 1, which is not the first name of an earlier file",
    ),
    (
        "manifest/link-to-link",
        "The manifest is malformed: /c: it links to entry 2, which is not the first name of an earlier file",
    ),
    (
        "manifest/magic",
        "The manifest is malformed: its first bytes are not those of a manifest",
    ),
    (
        "manifest/name-too-long",
        "The path is malformed: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...: it has a part of more than 255 bytes",
    ),
    (
        "manifest/nanoseconds",
        "The manifest is malformed: /a: its nanoseconds are a second or more",
    ),
    (
        "manifest/no-entries",
        "The manifest is malformed: it has 0 entries, 1 to 67108864 are allowed",
    ),
    (
        "manifest/no-parent",
        "The manifest is malformed: /a/b: its parent is not a directory of this manifest",
    ),
    (
        "manifest/no-target",
        "The manifest is malformed: /a: its link target is not one that Linux can hold",
    ),
    (
        "manifest/out-of-order",
        "The manifest is malformed: /a: it is out of order, or there twice",
    ),
    (
        "manifest/owner",
        "The manifest is malformed: /a: its owner is 2^32-1, which no file can have",
    ),
    (
        "manifest/parent-is-file",
        "The manifest is malformed: /a/b: its parent is not a directory of this manifest",
    ),
    (
        "manifest/path-absolute",
        "The path is malformed: /etc: it has an empty part",
    ),
    (
        "manifest/path-here",
        "The path is malformed: .: it has a part `.` or `..`",
    ),
    (
        "manifest/path-nul",
        "The path is malformed: a\\x00b: it contains a NUL byte",
    ),
    (
        "manifest/path-up",
        "The path is malformed: ../a: it has a part `.` or `..`",
    ),
    (
        "manifest/permissions",
        "The manifest is malformed: /a: its permissions exceed 07777",
    ),
    (
        "manifest/reserved",
        "The manifest is malformed: a reserved field is not zero",
    ),
    (
        "manifest/shares-too-little",
        "The manifest is malformed: a path repeats a byte that it shares with the one before",
    ),
    (
        "manifest/shares-too-much",
        "The manifest is malformed: a path shares more bytes with the one before than that has",
    ),
    (
        "manifest/too-large",
        "The manifest is malformed: /a: it is larger than 2^60 bytes",
    ),
    (
        "manifest/too-many-entries",
        "The manifest is malformed: it has 4294967295 entries, 1 to 67108864 are allowed",
    ),
    (
        "manifest/twice",
        "The manifest is malformed: /a: it is out of order, or there twice",
    ),
    (
        "manifest/unknown-type",
        "The manifest is malformed: an entry has the unknown type 9",
    ),
    (
        "manifest/version-2",
        "The manifest has format version 2, this program reads 1: install a newer reclone on this machine",
    ),
    (
        "manifest/xattrs-unsorted",
        "The manifest is malformed: /a: its xattrs are not sorted, or one is there twice",
    ),
    (
        "pack/base-from-later-frame",
        "The pack is malformed: a frame needs object a69c9750a36dc72ee600de98ee0a8ecc947a7b9f2109a08ee42a045a07d0b74c before the pack yields it",
    ),
    (
        "pack/base-is-own-object",
        "The pack is malformed: a frame needs object bce75948b9e7510293f8f2720412af9697c1479281323f3f220623fb8e94b557 before the pack yields it",
    ),
    (
        "pack/codec-4",
        "The pack is malformed: a frame has the unknown codec 4",
    ),
    (
        "pack/cut",
        "The pack is malformed: it ends inside its index",
    ),
    (
        "pack/empty-object",
        "The pack is malformed: an object is empty, or a frame's are larger than 2^64 bytes",
    ),
    (
        "pack/magic",
        "The pack is malformed: its first bytes are not those of a pack",
    ),
    (
        "pack/no-frames",
        "The pack is malformed: its counts are impossible: 0 frames, 4 objects, 0 bases",
    ),
    (
        "pack/patch-without-base",
        "The pack is malformed: a frame's figures do not fit its codec",
    ),
    (
        "pack/bases-too-large",
        "The pack is malformed: a frame's figures do not fit its codec",
    ),
    (
        "pack/reserved",
        "The pack is malformed: a reserved field is not zero",
    ),
    (
        "pack/repacked-without-base",
        "The pack is malformed: a frame's figures do not fit its codec",
    ),
    (
        "pack/stored-with-base",
        "The pack is malformed: a frame's figures do not fit its codec",
    ),
    (
        "pack/stored-with-other-length",
        "The pack is malformed: a frame's figures do not fit its codec",
    ),
    (
        "pack/stored-with-window",
        "The pack is malformed: a frame's figures do not fit its codec",
    ),
    (
        "pack/too-many-objects",
        "The pack is malformed: its counts are impossible: 3 frames, 4294967295 objects, 0 bases",
    ),
    (
        "pack/version-2",
        "The pack has format version 2, this program reads 1: install a newer reclone on this machine",
    ),
    (
        "pack/window-28",
        "The pack is malformed: a frame's figures do not fit its codec",
    ),
    (
        "pack/window-9",
        "The pack is malformed: a frame's figures do not fit its codec",
    ),
    (
        "patch/control-too-short",
        "The patch is malformed: it ends early",
    ),
    ("patch/cut", "The patch is malformed: it ends early"),
    (
        "patch/difference-too-long",
        "The patch is malformed: it has bytes that no step uses",
    ),
    (
        "patch/difference-too-short",
        "The patch is malformed: it ends early",
    ),
    (
        "patch/extra-too-long",
        "The patch is malformed: it has bytes that no step uses",
    ),
    (
        "patch/extra-too-short",
        "The patch is malformed: it ends early",
    ),
    (
        "patch/goes-on",
        "The patch is malformed: it has bytes that no step uses",
    ),
    (
        "patch/lengths",
        "The patch is malformed: its control and difference are larger than 64 MiB",
    ),
    (
        "patch/seek-out-of-base",
        "The patch is malformed: a step leads out of the base",
    ),
    (
        "patch/step-empty",
        "The patch is malformed: a step is empty, or longer than the object",
    ),
    (
        "patch/step-out-of-base",
        "The patch is malformed: a step leads out of the base",
    ),
    (
        "patch/step-too-long",
        "The patch is malformed: a step is empty, or longer than the object",
    ),
    (
        "patch/step-too-many",
        "The patch is malformed: it has bytes that no step uses",
    ),
    (
        "recipe/content",
        "The recipe is malformed: it is larger than 64 MiB, or its content than 1 GiB",
    ),
    (
        "recipe/content-ends-early",
        "The patch is malformed: a step is empty, or longer than the object",
    ),
    (
        "recipe/goes-on",
        "The recipe is malformed: it goes on after its end",
    ),
    (
        "recipe/length",
        "The recipe is malformed: it is larger than 64 MiB, or its content than 1 GiB",
    ),
    (
        "recipe/no-end",
        "The frame is malformed: it does not decompress: The recipe is malformed: it ends early",
    ),
    (
        "recipe/nothing",
        "The frame is malformed: it does not decompress: The recipe is malformed: an item yields nothing",
    ),
    (
        "recipe/too-long",
        "The recipe is malformed: it goes on after the content",
    ),
    (
        "recipe/too-short",
        "The frame is malformed: it does not decompress: The recipe is malformed: it ends before the content does",
    ),
    (
        "recipe/unknown-item",
        "The recipe is malformed: it has an item of the unknown kind 10",
    ),
];
