package config

import (
	"strings"
)

// The dialects of a Provider that clouds serve.
const (
	APIAzure   = "azure"   // OpenAI's models on Azure, by the v1 API
	APIBedrock = "bedrock" // Amazon Bedrock's Converse
)

// Entra are an application's credentials, in place of a key of Azure.
type Entra struct {
	Tenant       string `yaml:"tenant"`
	ClientID     string `yaml:"client_id"`
	ClientSecret string `yaml:"client_secret"`
	Authority    string `yaml:"authority"` // "": https://login.microsoftonline.com; sovereign clouds have others
	Scope        string `yaml:"scope"`     // "": https://cognitiveservices.azure.com/.default
}

// The environment variables of clouds, as their own programs have them. A deployment has no name that
// could be guessed; EnvAzureDeployment says what "default" means.
const (
	EnvAzureKey        = "AZURE_OPENAI_API_KEY"
	EnvAzureEndpoint   = "AZURE_OPENAI_ENDPOINT"
	EnvAzureDeployment = "AZURE_OPENAI_DEPLOYMENT"
	EnvBedrockKey      = "AWS_BEARER_TOKEN_BEDROCK"
)

// bedrockModel is a model of which every region's account has an inference profile.
const bedrockModel = "anthropic.claude-sonnet-4-5-20250929-v1:0"

// checkCloud refuses a provider of a cloud that lacks what its cloud needs, and one of no cloud that
// has what only clouds need.
func (p Provider) checkCloud(at string) error {
	aws := p.AccessKey != "" || p.SecretKey != "" || p.SessionToken != ""
	switch {
	case p.API != APIBedrock && aws:
		return invalid(at, "Write api: bedrock, or remove them.", "%s: access_key, secret_key and session_token are for api bedrock", at)
	case p.API != APIAzure && (p.Entra != nil || p.Dialect != ""):
		return invalid(at, "Write api: azure, or remove them.", "%s: entra and dialect are for api azure", at)
	case p.API == APIAzure:
		return p.checkAzure(at)
	case p.API == APIBedrock:
		return p.checkBedrock(at)
	}
	return nil
}

func (p Provider) checkAzure(at string) error {
	switch {
	case (p.APIKey == "") == (p.Entra == nil):
		return invalid(at+".api_key", "Write api_key, or entra: {tenant, client_id, client_secret}.", "%s needs either api_key or entra", at)
	case p.Entra != nil && (p.Entra.Tenant == "" || p.Entra.ClientID == "" || p.Entra.ClientSecret == ""):
		return invalid(at+".entra", "Write entra: {tenant, client_id, client_secret}.", "%s.entra lacks tenant, client_id or client_secret", at)
	case p.Dialect != "" && p.Dialect != APIResponses && p.Dialect != APIChat:
		return invalid(at+".dialect", "The dialects are responses and chat.", "%s.dialect is %q, which is none", at, p.Dialect)
	}
	if p.Entra != nil && p.Entra.Authority != "" {
		if err := checkURL(at+".entra.authority", p.Entra.Authority); err != nil {
			return err
		}
	}
	return checkURL(at+".base_url", p.BaseURL)
}

func (p Provider) checkBedrock(at string) error {
	switch {
	case p.Region == "":
		return invalid(at+".region", "Write region: eu-central-1, for example.", "%s has no region", at)
	case (p.AccessKey == "") != (p.SecretKey == "") || p.AccessKey != "" && p.APIKey != "" || p.AccessKey == "" && p.SessionToken != "":
		return invalid(at+".access_key", "Write access_key and secret_key, or api_key, or neither: then it is called as the machine is.", "%s needs access_key with secret_key, or api_key, or none of them", at)
	case p.BaseURL != "":
		return checkURL(at+".base_url", p.BaseURL)
	}
	return nil
}

// cloudsFromEnvironment adds the providers of clouds whose variables are set. A key alone is not enough:
// AWS's are there for other programs as well.
func (c *Config) cloudsFromEnvironment(env func(string) (string, bool)) {
	get := func(name string) string {
		v, _ := env(name)
		return v
	}
	if key := get(EnvAzureKey); key != "" {
		if base := get(EnvAzureEndpoint); base == "" {
			c.Notes = append(c.Notes, EnvAzureKey+" is set, and "+EnvAzureEndpoint+" is not: Azure is not used.")
		} else {
			deployment := get(EnvAzureDeployment)
			if deployment == "" {
				deployment = DefaultOpenAIModel
			}
			c.add(Provider{Name: "azure", API: APIAzure, BaseURL: base, APIKey: key}, deployment)
		}
	}
	region := get("AWS_REGION")
	if region == "" {
		return
	}
	p := Provider{Name: "bedrock", API: APIBedrock, Region: region, APIKey: get(EnvBedrockKey)}
	if p.APIKey == "" {
		p.AccessKey, p.SecretKey, p.SessionToken = get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY"), get("AWS_SESSION_TOKEN")
	}
	if p.APIKey != "" || p.AccessKey != "" && p.SecretKey != "" {
		c.add(p, geography(region)+"."+bedrockModel)
	}
}

// geography begins the name of the inference profile that stays near a region.
func geography(region string) string {
	for _, g := range []string{"us", "eu"} {
		if strings.HasPrefix(region, g+"-") && !strings.HasPrefix(region, "us-gov-") {
			return g
		}
	}
	return "global"
}

// add appends a provider; the first one's model is the default.
func (c *Config) add(p Provider, model string) {
	if len(c.Providers) == 0 {
		c.Models = append(c.Models, Model{Name: "default", Routes: []Route{{Provider: p.Name, Model: model}}})
	}
	c.Providers = append(c.Providers, p)
}
