package e2e

import (
	"strings"
	"testing"

	openai "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/responses"
)

func TestVectorStores(t *testing.T) {
	_, client, ctx := setup(t)
	store, err := client.VectorStores.New(ctx, openai.VectorStoreNewParams{Name: openai.String("manuals")})
	if err != nil {
		t.Fatal(err)
	}
	attached, err := client.VectorStores.Files.UploadAndPoll(ctx, store.ID, openai.FileNewParams{
		File: openai.File(strings.NewReader("id,name\n1,The red bicycle\n2,The blue boat\n"), "toys.csv", "text/csv"), Purpose: openai.FilePurposeAssistants,
	}, 50)
	if err != nil || attached.Status != openai.VectorStoreFileStatusCompleted {
		t.Fatalf("%v: %s", err, attached.RawJSON())
	}
	found, err := client.VectorStores.Search(ctx, store.ID, openai.VectorStoreSearchParams{Query: openai.VectorStoreSearchParamsQueryUnion{OfString: openai.String("boats")}})
	if err != nil || len(found.Data) != 1 || found.Data[0].Filename != "toys.csv" || !strings.Contains(found.Data[0].Content[0].Text, "blue boat") {
		t.Errorf("%v: %+v", err, found)
	}
	batch, err := client.VectorStores.FileBatches.NewAndPoll(ctx, store.ID, openai.VectorStoreFileBatchNewParams{FileIDs: []string{attached.ID}}, 50)
	if err != nil || batch.FileCounts.Completed != 1 {
		t.Errorf("%v: %s", err, batch.RawJSON())
	}
	res, err := client.Responses.New(ctx, responses.ResponseNewParams{
		Model: "sim", Tools: []responses.ToolUnionParam{{OfFileSearch: &responses.FileSearchToolParam{VectorStoreIDs: []string{store.ID}}}},
		Input: responses.ResponseNewParamsInputUnion{OfString: openai.String(`Call file_search with {"queries":["boats"]}` + "\nSay It is blue {cite 1}.")},
	})
	if err != nil || res.OutputText() != "It is blue." {
		t.Fatalf("%v: %+v", err, res)
	}
	cited := res.Output[1].Content[0].Annotations
	if len(cited) != 1 || cited[0].Type != "file_citation" || cited[0].Index != 10 || cited[0].FileID != attached.ID || cited[0].Filename != "toys.csv" {
		t.Errorf("it cites %+v", cited)
	}
	if _, err := client.VectorStores.Delete(ctx, store.ID); err != nil {
		t.Error(err)
	}
	if _, err := client.VectorStores.Get(ctx, store.ID); err == nil {
		t.Error("the store is found after it was deleted")
	}
}
