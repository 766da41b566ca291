package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCloudsFromEnvironment(t *testing.T) {
	sim := Provider{Name: SimModel, API: APISim}
	for name, tc := range map[string]struct {
		env  []string
		want []Provider
		def  string
	}{
		"azure": {[]string{EnvAzureKey, "k", EnvAzureEndpoint, "https://r.openai.azure.com", EnvAzureDeployment, "mine"},
			[]Provider{{Name: "azure", API: APIAzure, BaseURL: "https://r.openai.azure.com", APIKey: "k"}, sim}, "mine"},
		"azure without an endpoint": {[]string{EnvAzureKey, "k"}, nil, ""},
		"bedrock": {[]string{"AWS_REGION", "eu-west-1", "AWS_ACCESS_KEY_ID", "a", "AWS_SECRET_ACCESS_KEY", "s", "AWS_SESSION_TOKEN", "t"},
			[]Provider{{Name: "bedrock", API: APIBedrock, Region: "eu-west-1", AccessKey: "a", SecretKey: "s", SessionToken: "t"}, sim}, "eu." + bedrockModel},
		"bedrock by its own key": {[]string{"AWS_REGION", "ap-south-1", EnvBedrockKey, "b", "AWS_ACCESS_KEY_ID", "a", "AWS_SECRET_ACCESS_KEY", "s"},
			[]Provider{{Name: "bedrock", API: APIBedrock, Region: "ap-south-1", APIKey: "b"}, sim}, "global." + bedrockModel},
		"keys of AWS without a region": {[]string{"AWS_ACCESS_KEY_ID", "a", "AWS_SECRET_ACCESS_KEY", "s"}, nil, ""},
		"a region without a key":       {[]string{"AWS_REGION", "eu-west-1", "AWS_ACCESS_KEY_ID", "a"}, nil, ""},
	} {
		c, err := Load(Flags{}, environ(tc.env...))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if d := cmp.Diff(tc.want, c.Providers); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
		if tc.def != "" && (c.Models[0].Name != "default" || c.Models[0].Routes[0].Model != tc.def) {
			t.Errorf("%s: %+v is the default", name, c.Models[0])
		}
	}
}

func TestCheckClouds(t *testing.T) {
	const secret = "secret-of-the-test"
	for _, tc := range []struct {
		p    Provider
		says string // "" where all is well
	}{
		{Provider{API: APIAzure, BaseURL: "https://r.openai.azure.com", APIKey: secret}, ""},
		{Provider{API: APIAzure, BaseURL: "https://r.openai.azure.com", Entra: &Entra{Tenant: "t", ClientID: "c", ClientSecret: secret}, Dialect: APIChat}, ""},
		{Provider{API: APIAzure, BaseURL: "https://r.openai.azure.com"}, "either api_key or entra"},
		{Provider{API: APIAzure, BaseURL: "https://r.openai.azure.com", Entra: &Entra{ClientSecret: secret}}, "lacks tenant"},
		{Provider{API: APIAzure, BaseURL: "r", APIKey: secret}, "base_url"},
		{Provider{API: APIAzure, BaseURL: "https://r", APIKey: secret, Dialect: "x"}, "dialect"},
		{Provider{API: APIBedrock, Region: "eu-west-1", AccessKey: "a", SecretKey: secret}, ""},
		{Provider{API: APIBedrock, Region: "eu-west-1", APIKey: secret}, ""},
		{Provider{API: APIBedrock, APIKey: secret}, "no region"},
		{Provider{API: APIBedrock, Region: "eu-west-1"}, ""},
		{Provider{API: APIBedrock, Region: "eu-west-1", AccessKey: "a"}, "access_key"},
		{Provider{API: APIBedrock, Region: "eu-west-1", SessionToken: secret}, "access_key"},
		{Provider{API: APIBedrock, Region: "eu-west-1", AccessKey: "a", APIKey: secret}, "access_key"},
		{Provider{API: APIChat, BaseURL: "http://h", SecretKey: secret}, "for api bedrock"},
		{Provider{API: APIChat, BaseURL: "http://h", Entra: &Entra{ClientSecret: secret}}, "for api azure"},
	} {
		tc.p.Name = "p"
		c := Config{Providers: []Provider{tc.p}}
		err := c.checkProviders()
		if (err == nil) != (tc.says == "") || err != nil && (!strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), secret)) {
			t.Errorf("%+v: %v, want %q", tc.p, err, tc.says)
		}
	}
}
