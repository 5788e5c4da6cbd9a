//! The stanzas that the scanner's benches use, by class. Shapes and sizes are those of ordinary
//! clients; every set is a stream of whole stanzas.

/// Bytes of each set, at least.
const SET_BYTES: usize = 256 * 1024;

/// A name and a stream of stanzas.
pub(crate) struct Set {
    pub(crate) name: &'static str,
    pub(crate) bytes: Vec<u8>,
}

/// All sets. `chat` and `mixed` are the ones that figures are given for.
pub(crate) fn sets() -> Vec<Set> {
    let mixed = [
        CHAT,
        PRESENCE,
        IQ_PING,
        CHAT,
        ROSTER,
        GROUPCHAT,
        IQ_RESULT,
        CYRILLIC,
        MUC_PRESENCE,
    ];
    let mut mixed: Vec<String> = mixed.iter().map(|&stanza| stanza.to_owned()).collect();
    mixed.push(body("chat", &TEXT.repeat(5)));
    let one = |stanza: &str| vec![stanza.to_owned()];
    [
        ("chat", one(CHAT)),
        ("mixed", mixed),
        ("presence", one(PRESENCE)),
        ("roster", one(ROSTER)),
        ("body-4k", vec![body("chat", &TEXT.repeat(48))]),
        ("cyrillic", one(CYRILLIC)),
    ]
    .into_iter()
    .map(|(name, stanzas)| Set {
        name,
        bytes: fill(&stanzas),
    })
    .collect()
}

fn fill(stanzas: &[String]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for stanza in stanzas.iter().cycle() {
        bytes.extend_from_slice(stanza.as_bytes());
        if bytes.len() >= SET_BYTES {
            break;
        }
    }
    bytes
}

fn body(kind: &str, text: &str) -> String {
    format!("<message to='romeo@example.net' type='{kind}' id='b1'><body>{text}</body></message>")
}

const TEXT: &str = "A longer text, as people write when they explain something to each other: \
    with commas, and dots. ";

const CHAT: &str = "<message from='juliet@im.example.com/balcony' to='romeo@example.net' \
    type='chat' id='ktx72v49'><body>The noon train is full, take the one at two and call me.\
    </body><active xmlns='http://jabber.org/protocol/chatstates'/></message>";

const PRESENCE: &str = "<presence id='p7'><show>away</show><status>lunch</status><priority>5\
    </priority><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' \
    node='https://client.example/' ver='QgayPKawpkPSDYmwT/WM94uAlu0='/></presence>";

const IQ_PING: &str = "<iq from='im.example.com' to='juliet@im.example.com/balcony' id='s2c1' \
    type='get'><ping xmlns='urn:xmpp:ping'/></iq>";

const IQ_RESULT: &str = "<iq type='result' id='s2c1' to='im.example.com'/>";

const ROSTER: &str = "<iq to='juliet@im.example.com/balcony' type='result' id='r1'>\
    <query xmlns='jabber:iq:roster' ver='ver7'>\
    <item jid='nurse@example.com' name='Nurse' subscription='both'><group>Family</group></item>\
    <item jid='romeo@example.net' name='Romeo' subscription='both'><group>Friends</group></item>\
    <item jid='tybalt@example.org' subscription='none' ask='subscribe'/>\
    <item jid='mercutio@example.org' name='M. &amp; co' subscription='to'/></query></iq>";

const GROUPCHAT: &str = "<message to='room@conference.example.org' type='groupchat' \
    id='0a5b1c9e-77f0-4b59-9d6c-aa41b5a9d8b2' xml:lang='en'><body>&gt; quoted\nyes, at two</body>\
    <origin-id xmlns='urn:xmpp:sid:0' id='0a5b1c9e-77f0-4b59-9d6c-aa41b5a9d8b2'/>\
    <markable xmlns='urn:xmpp:chat-markers:0'/></message>";

const MUC_PRESENCE: &str = "<presence from='room@conference.example.org/third' \
    to='juliet@im.example.com/balcony'><x xmlns='http://jabber.org/protocol/muc#user'>\
    <item affiliation='member' role='participant' jid='m@example.net/x7'/><status code='110'/></x>\
    </presence>";

const CYRILLIC: &str = "<message to='romeo@example.net' type='chat' id='c4'><body>Поезд в двенадцать \
    уже полный, езжай следующим и позвони мне, когда приедешь.</body></message>";
