package sensitive_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/sensitive"
)

func marked(text string) string {
	return sensitive.Replace(text, sensitive.FindSecrets(text), func(kind string) string { return "<" + kind + ">" })
}

// What a name says is a secret is masked, and its name stays.
func TestAValueThatItsNameSaysIsASecret(t *testing.T) {
	hex, mixed := "4f9c2e77a1b04d3c9e8f6a5b4c3d2e1f", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYzQ3r8aTuV9"
	for _, tc := range [][2]string{
		// Environments and files of settings.
		{"AWS_SECRET_ACCESS_KEY=" + mixed, "AWS_SECRET_ACCESS_KEY=<secret>"},
		{"[default]\naws_secret_access_key = " + mixed + "\nregion = eu-west-1", "[default]\naws_secret_access_key = <secret>\nregion = eu-west-1"},
		{"A=1\nDB_PASSWORD=Tr0ub4dor&3xyz\nB=2", "A=1\nDB_PASSWORD=<secret>\nB=2"},
		{"POSTGRES_PASSWORD=letmein", "POSTGRES_PASSWORD=<secret>"},
		{"export API_KEY_PROD='" + hex + "'", "export API_KEY_PROD='<secret>'"},
		{`JWT_SECRET="su9er-Secr3t,with;signs"`, `JWT_SECRET="<secret>"`},
		{"MYSQL_PASS=pa,ss;w0rd!", "MYSQL_PASS=<secret>"},
		{"SECRET_KEY_BASE=" + hex + hex, "SECRET_KEY_BASE=<secret>"},
		{"spring.datasource.password=hunter2\n", "spring.datasource.password=<secret>\n"},
		{"//registry.npmjs.org/:_authToken=" + hex, "//registry.npmjs.org/:_authToken=<secret>"},
		{"Server=db;User Id=sa;Password=S3cure!x;Encrypt=true", "Server=db;User Id=sa;Password=<secret>;Encrypt=true"},
		{"DefaultEndpointsProtocol=https;AccountName=a;AccountKey=" + mixed + "Ab==;EndpointSuffix=core.windows.net", "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=<secret>;EndpointSuffix=core.windows.net"},
		{`"Env": ["PATH=/bin", "DB_PASSWORD=Tr0ub4dor,3xyz"]`, `"Env": ["PATH=/bin", "DB_PASSWORD=<secret>"]`},
		// JSON, as it is and in a text of JSON; YAML; XML.
		{`{"password": "Sup3rS3cretPw!", "user": "bob"}`, `{"password": "<secret>", "user": "bob"}`},
		{`{"password":"pa\"ss1word"}`, `{"password":"<secret>"}`},
		{`{"body":"{\"password\":\"hunter2hunter2\",\"n\":1}"}`, `{"body":"{\"password\":\"<secret>\",\"n\":1}"}`},
		{`{"stdout":"A=1\nDB_PASSWORD=Tr0ub4dor&3xyz\nB=2"}`, `{"stdout":"A=1\nDB_PASSWORD=<secret>\nB=2"}`},
		{`{"SecretAccessKey":"` + mixed + `","Version":1}`, `{"SecretAccessKey":"<secret>","Version":1}`},
		{`{"auths":{"ghcr.io":{"auth":"Ym9iOmh1bnRlcjJodW50ZXIy"}}}`, `{"auths":{"ghcr.io":{"auth":"<secret>"}}}`},
		{"db:\n  user: app\n  password: hunter2!\n", "db:\n  user: app\n  password: <secret>\n"},
		{"api_key: " + hex, "api_key: <secret>"},
		{"- apiToken: '" + hex + "' # of ada", "- apiToken: '<secret>' # of ada"},
		{"<server><password>hunter2x</password></server>", "<server><password><secret></password></server>"},
		// Headers, addresses and programs.
		{"> Authorization: Bearer " + hex + "\r\n> Accept: */*", "> Authorization: Bearer <secret>\r\n> Accept: */*"},
		{"Authorization: Basic YWRtaW46c3VwZXJzZWNyZXQxMjM=", "Authorization: Basic <secret>"},
		{`{"authorization":"Bearer ` + hex + `"}`, `{"authorization":"Bearer <secret>"}`},
		{"curl -H 'Authorization: token " + hex + "' https://x", "curl -H 'Authorization: token <secret>' https://x"},
		{"X-Api-Key: " + hex, "X-Api-Key: <secret>"},
		{"https://api.example.com/x?api_key=" + hex + "&n=1", "https://api.example.com/x?api_key=<secret>&n=1"},
		{`password = "hunter2!"`, `password = "<secret>"`},
		{`os.environ["DB_PASSWORD"] = 'pa55word!'`, `os.environ["DB_PASSWORD"] = '<secret>'`},
		{`'password' => 's3cr3t!',`, `'password' => '<secret>',`},
		{`apiKey := "` + hex + `"`, `apiKey := "<secret>"`},
		// .netrc.
		{"machine github.com login bob password hunter2hunter2", "machine github.com login bob password <secret>"},
		{"machine x\n  login bob\n  password hunter2hunter2\n", "machine x\n  login bob\n  password <secret>\n"},
		// A form of its own says more than the name.
		{"GITHUB_TOKEN=ghp_" + strings.Repeat("a1B2", 9), "GITHUB_TOKEN=<github_token>"},
		{`{"token":"hvs.` + strings.Repeat("a1B2", 9) + `"}`, `{"token":"<vault_token>"}`},
		{"https://api.telegram.org/bot123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw0/getMe", "https://api.telegram.org/bot<telegram_token>/getMe"},
	} {
		got := marked(tc[0])
		if got != tc[1] {
			t.Errorf("%q became\n%q, want\n%q", tc[0], got, tc[1])
		}
		if again := marked(strings.ReplaceAll(got, "<secret>", "[redacted secret]")); strings.Contains(again, "<secret>") {
			t.Errorf("what was masked is masked again: %q", again)
		}
	}
}

// What stands where a secret would, in programs, schemas, templates and documentation, stays as it is. The lines are written
// as programs, charts and documentation of the common frameworks have them.
func TestWhatOnlyIsNamedLikeASecretStays(t *testing.T) {
	for text := range strings.SplitSeq(harmless, "\n") {
		if got := marked(text); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
	if got := marked(harmless); got != harmless {
		t.Errorf("all of them became %q", got)
	}
}

const harmless = `password: string
password: string;
password?: string | null;
	Password string ` + "`json:\"password\" validate:\"required,min=8\"`" + `
password: str = Field(..., min_length=8)
password = getpass()
password = getpass.getpass("Password: ")
password=None
password=password, token=token, secret=secret
password = None
password = user.password2
password = os.environ["DB_PASSWORD"]
password = os.getenv('DB_PASSWORD', '')
password := r.FormValue("password")
token := r.Header.Get("X-Auth-Token")
token = tokenizer.decode(ids[0])
token, err := jwt.Parse(raw)
token = lexer.next_token(); key = cache_key(user_id)
token = token1.value
if password == "" {
if token != expected {
const secret = crypto.randomBytes(32).toString("hex")
secret = secrets.token_urlsafe(32)
self.secret_key = secret_key or settings.SECRET_KEY
this.apiKey = options.apiKey ?? process.env.API_KEY
apiKey: process.env.OPENAI_API_KEY,
apiKey: z.string().min(1),
api_key=api_key, timeout=30
api_key = os.environ.get("API_KEY")
API_KEY=your-key
API_KEY=your_api_key_here_1234567890
API_KEY=<your-api-key>
OPENAI_API_KEY=sk-...
API_KEY=xxxxxxxxxxxxxxxxxxxxxxxxxxxx
SECRET_KEY=changeme
SECRET_KEY=replace-me-with-64-random-bytes-1234
DB_PASSWORD=
DB_PASSWORD=""
DB_PASSWORD=$1
DB_PASSWORD=$POSTGRES_PASSWORD
DB_PASSWORD=${DB_PASSWORD:-postgres1}
DB_PASSWORD=$(cat /run/secrets/db2)
DB_PASSWORD=null
DB_PASSWORD=password
DB_PASSWORD_FILE=/run/secrets/db_password_1
PWD=/srv/ada9/src/app-2
OLDPWD=/opt/go1.26/x86_64
password: ${DB_PASSWORD}
password: {{ .Values.db.password1 }}
password: "{{ vault_db_password_2 }}"
password: !vault |
password: *default1
token: ${{ secrets.GITHUB_TOKEN }}
token: <token>
token: "<your token 123>"
secret: db-creds-2024
secret: my-app-secret-v2
secretName: my-app-tls-12345678
secretKeyRef: {name: db-1, key: password}
secret: arn:aws:secretsmanager:eu-west-1:123456789012:secret:db-AbCdEf
password: var.db_password_1
password = var.db_password1
password = random_password.db2.result
sensitive_password = "${random_password.db2.result}"
"password": {"type": "string", "minLength": 8},
"password": {"$ref": "#/components/schemas/Password1"}
"password": "string"
"password": "required|min:8|confirmed"
"password": "varchar(255)"
"password": "Passwort"
"password": "Mot de passe"
"password": "Contraseña"
"password": "Password:"
"password": "At least 8 characters"
"password": "••••••••"
"password": "********"
"password": null, "token": 1234, "api_key": true
"required": ["username", "password"], "type": "object"
"type": "password", "format": "password", "name": "password"
"name": "api_key", "in": "header", "type": "apiKey"
{"token": "Hello", "logprob": -0.31725305, "bytes": [72]}
{"token": " approximately", "logprob": -9.1}
{"nextPageToken": "CAUQAA1b2c3d4e5f6g7h8i9j0", "items": []}
{"NextToken": "eyJhIjoxfQ1b2c3d4e5f6g7h8i9j0", "next_page_token": "a1b2c3d4e5f6g7h8i9j0k1l2"}
{"ContinuationToken":"1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6"}
{"prompt_tokens": 1024, "completion_tokens": 12, "max_tokens": 4096}
"eos_token": "<|endoftext|>", "pad_token": "[PAD]", "unk_token": "<unk>"
"key": "4f9c2e77a1b04d3c9e8f6a5b4c3d2e1f", "primary_key": "4f9c2e77a1b04d3c9e8f6a5b4c3d2e1f"
cache-key: linux-go-4f9c2e77a1b04d3c9e8f6a5b4c3d2e1f
public_key: MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A
idempotency_key=4f9c2e77a1b04d3c9e8f6a5b4c3d2e1f
aws_access_key_id = ${AWS_ACCESS_KEY_ID}
password_hash=pbkdf2 password_changed_at: 2024-01-01T00:00:00Z
bypass=1 compass: 359 passes=100 pass: 42 tests
tokenUrl: https://auth.example.com/oauth2/token1
token: https://auth.example.com/oauth2/v2.0/token
Authorization: Bearer
Authorization: Bearer <token>
Authorization: Bearer $TOKEN
Authorization: Bearer ${GITHUB_TOKEN1}
curl -H "Authorization: Bearer $STEAD_API_KEY" -d '{"n":1}'
backend: "Backend", private_key: "_EllipticCurvePrivateKey", data: bytes
Authorization: Bearer YOUR_API_KEY_123
Authorization: Bearer sk-...
Authorization: Basic authentication is required
headers = {"Authorization": f"Bearer {token1}"}
headers: { Authorization: "Bearer " + token },
req.Header.Set("Authorization", "Bearer "+token)
"Authorization": "Bearer {{access_token_1}}",
Access-Control-Allow-Headers: Authorization, Content-Type
machine learning: login and password are required
the login page asks for a password twice, and the password must be 12 characters
forgot your password? password reset
password must
enter password: ok
Enter your password:
Password: required. Token: optional.
The token: a word or 2 of it. The secret: it is 12-year-old whisky.
<password>${env.PASSWORD1}</password>
<input type="password" name="password1" autocomplete="new-password">
<label for="password">Password1234</label>
func (s *Server) Password(ctx context.Context, secret string) (token string, err error)
type Secret struct { Token, Password string; Key []byte }
private_key = serialization.load_pem_private_key(data, password=None)
private_key_path: /etc/ssl/private/server-1.pem
pub const TOKEN: &str = env!("TOKEN");
let token: u64 = 5; let secret: [u8; 32] = rand();
password: int64, token: uint32, secret: Uint8Array
$password = $_POST['password1'];
'password' => env('DB_PASSWORD', 'forge1'),
'password' => 'hashed',
'password' => bcrypt('secret1'),
password: <%= ENV["DB_PASSWORD1"] %>
password: "%s"
password: '%(password1)s'
--password=<password> --token=TOKEN
SELECT password, token FROM users WHERE password = ? AND token = $1
password VARCHAR(255) NOT NULL
sha256: 4f9c2e77a1b04d3c9e8f6a5b4c3d2e1f commit=4f9c2e77a1b04d3c9e8f6a5b4c3d2e1f
SKU: SK01234 SG.1 hf_model ya29 pypi-server lin_reg dop_v1 hvs.x ATATT AT&T
12:34:56:AA:BB 10:00:AA 123456789:AAA`

// However a text is made, it takes time in proportion to it.
func TestAHostileTextTakesNoLonger(t *testing.T) {
	for _, part := range []string{"token=", "a_token: ", "password ", "-----BEGIN PRIVATE KEY-----", "sk-", "login x password ", `"password":"`, `\"secret\":\"`, "Authorization: Bearer ", "pwd='", strings.Repeat("a", 70) + "=", "<token>", "api_key=a1-", "SG."} {
		began := time.Now()
		sensitive.FindSecrets(strings.Repeat(part, 50_000/len(part)))
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("%q takes %v", part, took)
		}
	}
}
