package main

import (
	"archive/zip"
	"bytes"
	"io"
	"strings"
	"testing"
)

// TestDocumentsAreSearched: of each kind one, uploaded as it is, and found on its page.
func TestDocumentsAreSearched(t *testing.T) {
	n := openConfigured(t, registryConfig, io.Discard)
	for name, tc := range map[string]struct{ data, query, want string }{
		"fees.pdf": {`%PDF-1.4
1 0 obj <</Type/Catalog/Pages 2 0 R>> endobj
2 0 obj <</Type/Pages/Count 2/Kids[5 0 R 3 0 R]>> endobj
3 0 obj <</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R/Resources<</Font<</F<</Type/Font/Subtype/Type1/BaseFont/Times-Roman>>>>>>>> endobj
4 0 obj <</Length 56>> stream
BT /F 12 Tf 72 700 Td (Parcels to Austria cost 9 euro.) Tj ET
endstream endobj
5 0 obj <</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 6 0 R/Resources<</Font<</F<</Type/Font/Subtype/Type1/BaseFont/Times-Roman>>>>>>>> endobj
6 0 obj <</Length 56>> stream
BT /F 12 Tf 72 700 Td (Postage of all our parcels now.) Tj ET
endstream endobj
trailer <</Root 1 0 R>>
`, "Austria parcel", "## Page 2\\n\\nParcels to Austria cost 9 euro."},
		"letter.docx": {docx(t, "Letters weigh 20 grams."), "heavy letter", "Letters weigh 20 grams."},
	} {
		t.Run(name, func(t *testing.T) {
			store := stored(t, n, name, tc.data)
			_, found := ask(t, n, "POST", "/v1/vector_stores/"+store+"/search", `{"query":"`+tc.query+`"}`)
			if !strings.Contains(found, tc.want) || strings.HasSuffix(name, ".pdf") && !strings.Contains(found, `"passage":{"heading":"Page 2","page":2}`) {
				t.Errorf("found is %s, want %s", found, tc.want)
			}
		})
	}
}

func docx(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, content := range map[string]string{
		"_rels/.rels": `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" ` +
			`Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="word/document.xml"/></Relationships>`,
		"word/document.xml": `<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body><w:p><w:r><w:t>` + text + `</w:t></w:r></w:p></w:body></w:document>`,
	} {
		w, err := z.Create(name)
		if err == nil {
			_, err = io.WriteString(w, content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
