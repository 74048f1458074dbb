"""Every cap, with its arithmetic. What grows is bounded where it is inserted, and what is refused is counted."""

DATAGRAM_BYTES_MAX = 1_400
"""Largest datagram sent or accepted: 1,500 Ethernet - 50 VXLAN - 40 IPv6 - 8 UDP = 1,402, rounded down."""

SEAL_HEADER_BYTES = 25
"""Version 1 + key id 4 + session 12 + counter 8."""

SEAL_TAG_BYTES = 16
"""The AES-GCM tag."""

PAYLOAD_BYTES_MAX = DATAGRAM_BYTES_MAX - SEAL_HEADER_BYTES - SEAL_TAG_BYTES
"""What a sealed datagram carries: 1,359 bytes of sender and messages; unsealed ones carry no more."""

GOSSIP_MESSAGE_BYTES_MAX = 1_100
"""Largest encoded message that may ride in a datagram: leaves room for the sender (65) and the largest probe message
(PingRequest, about 90) with slack. Anything larger is announced by version and fetched over a stream."""

MESSAGES_PER_DATAGRAM_MAX = 256
"""A message is at least 4 bytes; 256 is above the 135 shortest, refutations, that fit 1,359 bytes."""

STREAM_FRAME_BYTES_MAX = 65_536
"""Largest sealed frame on a stream: bounds what one peer makes us hold before we can check a single byte of it."""

STREAM_PAYLOAD_BYTES_MAX = STREAM_FRAME_BYTES_MAX - SEAL_HEADER_BYTES - SEAL_TAG_BYTES
"""What a frame carries: 65,495 bytes of sender and one message."""

STREAM_BYTES_MAX = 32 * 1024 * 1024
"""Most that one stream may carry in one direction: 10,000 members x 50 B + 100,000 records x 300 B = 30.5 MB."""

STREAMS_INBOUND_MAX = 64
"""Streams accepted at once; further ones are closed and counted. memberlist's 128 full-state syncs held 7 GB; ours are bounded."""

STREAMS_OUTBOUND_MAX = 32
"""Streams we open at once: a probe's fallback, a sync, and fetches; further ones are not opened and are counted."""

INTEGER_MAX = 2**53 - 1
"""Largest epoch, counter, sequence number or time in milliseconds, on the wire and on disk: what JSON carries exactly."""

AGE_S_MAX = 2**32 - 1
"""Largest age of a verdict on the wire: 136 years."""

MEMBERS_MAX = 10_000
"""Rows in the member table; 10,000 x about 1 kB = 10 MB. A claim about one more is refused and counted."""

PEER_BOOK_MAX = 10_000
"""Addresses remembered on disk, as many as members; the least recently seen goes first."""

SESSIONS_MAX = 16_384
"""Replay windows kept, one per running peer process: MEMBERS_MAX with room for restarts; least recently used goes first."""

STREAM_SESSIONS_MAX = 16_384
"""Opening frames remembered against replay: at 64 inbound streams a second, the last four minutes."""

REPLAY_WINDOW = 4_096
"""Counters a packet may lag behind the newest of its session. One counter serves all peers, so it must exceed what a busy
sender emits while one datagram is overtaken: 4,096 at 10,000 packets/s is 0.4 s."""

KEYS_MAX = 8
"""Keys in a keyring: a rotation needs two; each unknown packet is compared with all key ids."""

RECORD_BYTES_MAX = 16_384
"""Largest encoded record: three of them fit a stream frame. Metadata beyond that belongs to the service itself."""

RECORD_KEY_BYTES_MAX = 160
"""A record's key, UTF-8 bytes: "service/" and the longest instance id make 136."""

SIGNATURE_BYTES_MAX = 128
"""A record's signature: Ed25519 needs 64."""

RECORDS_PER_OWNER_MAX = 4_096
"""Records, tombstones included, that one node may publish: more than any host runs, and what one bad node can cost others."""

RECORD_BYTES_PER_OWNER_MAX = 4 * 1024 * 1024
"""Encoded bytes of all records of one owner: 4,096 records of 1 kB."""

LIVE_RECORDS_PER_OWNER_MAX = 3_072
"""Records without tombstones that a node publishes: three quarters of its quota. The rest is for tombstones, so that even a
deletion at the quota costs about three re-issues at most."""

LIVE_RECORD_BYTES_PER_OWNER_MAX = 3 * 1024 * 1024
"""Encoded bytes of the same; the remaining quarter holds 4,096 tombstones of the largest key (256 B)."""

RECORDS_MAX = 200_000
"""Records from all owners: the 172,000 instances of the largest published service-discovery benchmark, with room."""

CATALOG_BYTES_MAX = 256 * 1024 * 1024
"""Encoded bytes of all records: 200,000 of 1.3 kB, or 64 owners at their quota."""

RELAYED_RECORDS_PER_OWNER_PER_S = 50
"""Records of one owner that we relay by gossip each second, on average; the rest waits for syncs."""

RELAYED_RECORDS_PER_OWNER_BURST = 500
"""Records of one owner relayed at once after a quiet time: a node that starts with 500 services."""

TOMBSTONES_MIN = 64
"""An owner compacts its records once tombstones exceed this and its live records: one deletion then costs about one re-issue."""

QUEUE_MESSAGES_MAX = 20_000
"""Messages of one class waiting to be gossiped: one a member plus as many records; the most-sent is dropped first."""

SHARED_VALUES_MAX = 1_024
"""Names, tags and metadata of records that are kept once, however many have them: three of each of 340 services. A record has at
most 16 KiB, so they are at most 16 MiB of UTF-8."""

SYNC_BUCKETS_MAX = 4_096
"""Buckets in a digest: 4,096 x 8 B = 32 kB, half a frame. Chosen as the power of two near the root of the item count."""

SYNC_ITEMS_PER_FRAME_MAX = 4_096
"""Item hashes or items in one frame of a sync; more go into further frames."""

JOURNAL_PER_SUBJECT_MAX = 32
"""State changes remembered as evidence for each member and each local subject of `why`."""

JOURNAL_INSTANCE_NOTES_MAX = 65_536
"""State changes of instances remembered in all: 65,536 x 300 B = 20 MB. Those that have not changed for longest go first."""

LABELS_MAX = 64
"""Labels of a node, tags of a service, metadata entries of a service: each."""

LABEL_KEY_BYTES_MAX = 128
"""A label's or metadata entry's key, and a tag: UTF-8 bytes."""

LABEL_VALUE_BYTES_MAX = 1_024
"""A label's or metadata entry's value: UTF-8 bytes."""

NODE_LABELS_BYTES_MAX = 15 * 1024
"""Keys and values of a node's own labels together: RECORD_BYTES_MAX less 1 KiB for names, lengths and a reason to drain."""

SERVICE_ID_BYTES_MAX = 128
"""An instance id: UTF-8 bytes."""

SEEDS_MAX = 256
"""Addresses to join through, after DNS resolution."""

API_FRAME_BYTES_MAX = 128 * 1024
"""Largest request or line on the local socket: the largest record, 16 KiB, with every byte escaped as six in JSON, is 96 KiB."""

API_CONNECTIONS_MAX = 1_024
"""Local clients at once, or half as many as the process may open files, if that is less; further ones get an error and are closed.
One that only watches takes 15 kB: 15 MB. At the very worst each leaves a request half sent (API_FRAME_BYTES_MAX and the 64 KiB of
one read) and 64 KiB of answers that are not on their way yet: 1,024 x 256 KiB = 256 MiB, and API_UNREAD_BYTES_MAX."""

API_UNREAD_BYTES_MAX = 64 * 1024 * 1024
"""Bytes that wait for all local clients together; past it the one that has read nothing for longest is closed. A snapshot of 3,000
instances is 2.4 MB, so 27 clients may be in the middle of one."""

API_WATCHES_PER_CONNECTION_MAX = 64
"""Watches on one connection."""

WATCH_EVENTS_MAX = 256
"""Events held for a watcher that does not read; past it the watcher gets one `resync` and a fresh snapshot."""

WATCH_LOG_MAX = 1_024
"""Changes held for watchers that lost their connection: four times what one of them may be told without a `resync`."""

WATCH_LOG_BYTES_MAX = 2 * 1024 * 1024
"""Bytes of the same, as JSON: 1,024 of 2 kB. As values and in both encodings they take about four times as much."""

WATCH_LINGER_S = 60.0
"""Seconds that what was watched is followed on after its last watcher has gone: long enough to restart an application."""

WATCH_LINGERING_MAX = 256
"""Services followed on at once; past it the one whose watcher went first is forgotten."""

API_WAITS_MAX = 256
"""Clients that wait for instances at once, one on a connection: each looks again whenever its service has changed."""

API_WAIT_S_MAX = 3_600
"""Longest wait for instances: an hour; who has more patience asks again."""

CLIENT_ANSWER_BYTES_MAX = 256 * 1024 * 1024
"""Longest answer or event that a client takes: a snapshot of all 200,000 instances is 160 MB; more is no daemon of ours."""

CLIENT_EVENTS_MAX = 4_096
"""Events that a client holds for a watch that it does not read; past it they are dropped, and a fresh snapshot is asked for. At
about 1 kB each: 4 MB."""

CLIENT_LAST_ANSWERS_MAX = 1_024
"""Questions whose last answer a client keeps for when the daemon is away; past it the one not asked for longest is forgotten."""

MIRROR_LISTENERS_MAX = 1_024
"""Listeners, balancers and calls that one mirror keeps up, 16 for each of 64 services; one more is refused. They are made once and
kept for as long as the mirror: who makes them anew for each request is told so."""

TRANSPORT_SERVICES_MAX = 32
"""Services that an HTTP transport mirrors at once, half of what one connection may watch: names come from URLs, redirects included.
Past it the one not called for longest is let go."""

OPEN_PROBES_MAX = 512
"""Relayed probes in flight for others: 3 helpers x 1 probe/s x 0.5 s each for 300 peers at once."""

CHECKS_PER_INSTANCE_MAX = 16
"""Checks of one instance: a listener, an endpoint or two, a script; more belong into one script."""

CHECKS_MAX = 4_096
"""Checks that one daemon runs: 1,000 instances with a handful each; at 10 s intervals, 400 a second."""

CHECK_OUTPUT_BYTES_MAX = 65_536
"""Largest *output_bytes_max* of a check."""

CHECK_OUTPUTS_BYTES_MAX = 64 * 1024 * 1024
"""The *output_bytes_max* of all checks of one daemon together: 4,096 of 4 KiB, the default, are 16 MiB."""

CHECK_TARGET_BYTES_MAX = 2_048
"""A URL, a path, all headers together, or a command line of a check: 4,096 checks of 2 KiB are 8 MB."""

CHECK_HEADERS_MAX = 32
"""Headers that an http check sends."""

CHECK_ARGS_MAX = 64
"""Program and arguments of a script check."""

CHECK_BODY_BYTES_MAX = 4_096
"""Body that an http check sends: a small document."""

CHECK_ANSWER_BYTES_MAX = 1024 * 1024
"""Largest *body_bytes_max* of an http check. The answer's body is counted, not kept, but for the check's output."""

CHECK_INTERVAL_S_MIN = 0.1
"""Shortest interval of a check, and shortest life of a report: a check costs a connection or a process each time."""

CHECK_INTERVAL_S_MAX = 86_400
"""The longest of both: a day."""

CHECK_TIMEOUT_S_MIN = 0.01
"""Shortest time that a try may be given."""

CHECK_DEREGISTER_S_MAX = 30 * 86_400
"""Longest wait before an instance that stays critical is deregistered: 30 days."""

CHECK_STREAK_MAX = 1_000
"""Largest number of results in a row that a check may be told to wait for: at 10 s, almost three hours."""

PENALTIES_MAX = 8_192
"""Instances whose flapping is remembered, those that are gone included: twice what a node may publish, with room; 1 MB."""

DECISIONS_MAX = 4_096
"""Instances that are draining or under maintenance, those not registered at the moment included."""

UNREGISTERED_DECISION_S = 86_400
"""Seconds that the decision about an instance outlives its registration: a day, so that it also holds after a restart."""

REASON_BYTES_MAX = 256
"""Why something drains or is under maintenance: a sentence."""

DRAIN_S_MAX = 30 * 86_400
"""Longest deadline of a drain: 30 days; longer is maintenance."""

REGISTRATIONS_PER_UID_MAX = 1_024
"""Instances that the clients of one user may hold; root is bounded by the node's quota alone."""

SERVICES_FILES_MAX = 1_024
"""Files in a services directory: one for each of a thousand programs."""

SERVICES_BYTES_MAX = 8 * 1024 * 1024
"""All files of a services directory together: twice what a node may publish, for checks and comments."""

LEASES_MAX = 65_536
"""Calls of one client to one service that are under way: 65,536 x about 250 B = 16 MB. Past it the oldest is given up and
counted."""

RING_POINTS_MAX = 2**20
"""Points of one hash ring: 160 for each of 6,553 instances, fewer for each if there are more; 2**20 x about 48 B = 50 MB."""

MAGLEV_SLOTS_MAX = 655_373
"""Slots of a Maglev table: the larger of the two sizes that its paper measured; 655,373 x 16 B = 10 MB."""

GUARDED_INSTANCES_MAX = 131_072
"""Losses and kept instances that the collapse guard remembers: 131,072 x about 150 B = 20 MB. What is one too many is shown
unreachable without a look."""
