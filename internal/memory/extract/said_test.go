package extract

import (
	"strings"
	"testing"
)

// Secrets as people and commands say them are masked, all of the value, whatever stands around it.
func TestSecretsAreMaskedAsTheyAreSaid(t *testing.T) {
	for text, value := range map[string]string{
		"pwd: hunter2":                                                     "hunter2",
		"pass: hunter2":                                                    "hunter2",
		"pw=abc123!":                                                       "abc123",
		"my pw is swordfish":                                               "swordfish",
		"DB_PASS=hunter2":                                                  "hunter2",
		"DB_PASS=swordfish make migrate":                                   "swordfish",
		"export PGPASSWORD=hunter2; psql":                                  "hunter2",
		"smtp.pass = \"hunter2\"":                                          "hunter2",
		`{"user":"ada","password": "hunter2"}`:                             "hunter2",
		`{\"user\":\"ada\",\"password\":\"hunter2\"}`:                      "hunter2",
		"<user>ada</user><password>hunter2</password>":                     "hunter2",
		"login ada/hunter2":                                                "hunter2",
		"The database login is root / toor123.":                            "toor123",
		"I log in with ada and S3cret!pass.":                               "S3cret",
		"the credentials are ada:hunter2x":                                 "hunter2x",
		"user ada pw hunter2":                                              "hunter2",
		"use hunter2 as password":                                          "hunter2",
		"Use swordfish as the password for the router.":                    "swordfish",
		"my password, by the way, is hunter2":                              "hunter2",
		"the password's hunter2":                                           "hunter2",
		"the password’s swordfish, by the way":                             "swordfish",
		"The password for staging has been set to hunter2":                 "hunter2",
		"The password to the staging database has been changed to hunter2": "hunter2",
		"I changed my password to hunter2":                                 "hunter2",
		"I changed my password to swordfish.":                              "swordfish",
		"We reset the password of Ada from hunter1 to hunter2 today":       "hunter2",
		"We reset the password of Ada from hunter1x to hunter2 today":      "hunter1x",
		"ssh -p 22 root@host with password hunter2":                        "hunter2",
		"log in as ada with the password swordfish":                        "swordfish",
		"curl -u ada:hunter2 https://x.example":                            "hunter2",
		"curl --user 'ada:hunter2' https://x.example":                      "hunter2",
		"sshpass -p hunter2 ssh ada@host":                                  "hunter2",
		"mysql -u root -phunter2 shop":                                     "hunter2",
		"tool --password=hunter2 run":                                      "hunter2",
		"tool --password hunter2 run":                                      "hunter2",
		"tool --auth-token 8f3a9c2b7d1e4f60 run":                           "8f3a9c2b7d1e4f60",
		"the token is 8f3a9c2b7d1e4f60":                                    "8f3a9c2b7d1e4f60",
		"export TOKEN=8f3a9c2b7d1e4f60aa":                                  "8f3a9c2b7d1e4f60aa",
		"cvc: 123":                                                         "123",
		"my card expires in May, cvv 123":                                  "123",
		"Die Kartenprüfnummer ist 123":                                     "123",
		"my SSN is 078-05-1120":                                            "078-05-1120",
		"OTP 493021":                                                       "493021",
		"The one-time code is 493021.":                                     "493021",
		"Your verification code is 493021":                                 "493021",
		"my 2FA backup code is 83kd-92lx":                                  "83kd-92lx",
		"recovery phrase: apple banana cherry door eagle frog":             "eagle frog",
		"My seed phrase is safe banana cherry door eagle frog":             "eagle frog",
		"The launch code is 0000-1111.":                                    "0000-1111",
		"The vault combination: 12-34-56.":                                 "12-34-56",
		"Our Wi-Fi uses Sommer2026! as the key.":                           "Sommer2026",
		"Ich habe das Passwort auf sonne77x geändert":                      "sonne77x",
		"melde dich mit dem Passwort sonne77x an":                          "sonne77x",
		"Nimm sonne77x als Passwort":                                       "sonne77x",
		"J'ai changé le mot de passe en soleil42":                          "soleil42",
		"avec le mot de passe soleil42":                                    "soleil42",
		"Cambié la contraseña del correo a girasol7":                       "girasol7",
		"usa girasol7 como contraseña":                                     "girasol7",
		"Mudei a senha para girassol7":                                     "girassol7",
		"Ho cambiato la password in girasole7":                             "girasole7",
		"Het wachtwoord is gewijzigd naar zonnebloem7":                     "zonnebloem7",
		"Zmieniłem hasło na slonecznik7":                                   "slonecznik7",
		"Я сменил пароль на подсолнух7":                                    "подсолнух7",
		"Phrase de récupération : pomme banane cerise":                     "cerise",
	} {
		if got, found := Mask(text); !found || strings.Contains(got, value) {
			t.Errorf("%q is kept as %q", text, got)
		}
	}
}

// What is said about passwords, and what has the form of one beside other words, stays as it is.
func TestProseAboutSecretsStays(t *testing.T) {
	for _, text := range []string{
		"how do I reset my password", "the password is not accepted", "My password is not accepted any more, what now?", "the password is required to log in",
		"I changed my password to be safe", "I had to change my password to log in again", "Set a password to protect the file.", "Change the password to something longer.",
		"The password is set to expire in 30 days.", "The password, once lost, is gone.", "The password's expired.", "The password's length is 12.", "The password is correct.", "the password is wrong again",
		"The user forgot the password of the router.", "Use Bitwarden as password manager.", "Use 1Password as the password manager", "Never use your birthday as password.", "Use Vault for password storage", "use OAuth2 as the login", "use it as password",
		"Log in with password authentication only.", "Passwords are hashed with argon2id.", "Store the password hash with bcrypt12.", "password length 12 characters", "The password must have 12 characters.",
		"The token is bound to a session.", "The token for the demo is valid until 2026.", "next_page_token is empty", "Tokens: 1200 in, 300 out", "A token is a part of a word.",
		"--- PASS: TestLogin (0.02s)", "pass: all of them", "pass=12 fail=0", "boarding pass: gate B", "PWD=/srv/ada", "bypass: yes", "password=$DB_PASS", "password: <your password>", `"password": "${DB_PASSWORD}"`,
		"docker run -u 1000:1000 image", "git push -u origin main", "tool --password is deprecated", "The login page is at example.com/login/v2.", "login via SSO/SAML", "Log in with Chrome and a passkey.",
		"The house number is 12.", "My locker number is seventy.", "The error code is 493021.", "The verification code did not arrive.", "The backup code is in the safe.", "The recovery phrase is stored in the safe.",
		"The order is 078-05-1120-4.", "He is a login/logout expert.", "The credentials are stored in Vault.", "The PIN is required at the terminal.",
		"Das Passwort ist abgelaufen.", "Wie setze ich mein Passwort zurück?", "Das Passwort ist falsch.", "Le mot de passe est expiré.", "La contraseña es incorrecta.", "A senha está errada.", "La password è scaduta.", "Пароль не принят.",
	} {
		if got, found := Mask(text); found {
			t.Errorf("%q was masked: %q", text, got)
		}
	}
}
