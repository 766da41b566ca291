package passage

import (
	"fmt"
	"strings"
	"testing"
)

// What is no tag is text, as browsers have it: nothing behind it is lost.
func TestTextOfHTMLStays(t *testing.T) {
	for doc, want := range map[string]string{
		`<h1>Refunds</h1><p>Parcels < 5 kg: the customer's refund is free.</p><h2>Warranty</h2><p>Two years.</p>`: "# Refunds\n\nParcels < 5 kg: the customer's refund is free.\n\n## Warranty\n\nTwo years.\n",
		`<p>a<5 and b <= 6, 1 <<2, a </ b, </>c<</p>`:                                                             "a<5 and b <= 6, 1 <<2, a </ b, c<\n",
		`<p title=it's>one</p><p title="a > b">two</p><p title='x"y'>three</p>`:                                   "one\n\ntwo\n\nthree\n",
		`<p it's>one</p><p title = "a>b" x>two</p>`:                                                               "one\n\ntwo\n",
		`<p title="never closed>one</p><p>two</p>`:                                                                "one\n\ntwo\n",
		`<!DOCTYPE html><?xml it's ?><!-- > it's --><p>one</p><![CDATA[x]]><p>two`:                                "one\n\ntwo\n",
		`<p>end <`: "end <\n",
		"<pre>if a < b && c > d { }</pre><p>on</p>": "```\nif a < b && c > d { }\n```\n\non\n",
	} {
		if got := markdown(doc); got != want {
			t.Errorf("%s\nis   %q\nwant %q", doc, got, want)
		}
	}
}

// What stands in a block of its own is not one word with what stands beside it.
func TestBlocksOfHTMLStandApart(t *testing.T) {
	for doc, want := range map[string]string{
		`<details><summary>How long do refunds take?</summary>Thirty days.</details>On.`:                       "How long do refunds take?\n\nThirty days.\n\nOn.\n",
		`<figure><img src=x><figcaption>Plan</figcaption>A</figure><address>Köln</address>B`:                   "Plan\n\nA\n\nKöln\n\nB\n",
		`<fieldset><legend>Size</legend><select><option>S<option>M</select><button>Buy</button>Now</fieldset>`: "Size\n\nS\nM\nBuy\nNow\n",
		`<p>in <b>one</b><i>word</i> <label>x</label>y`:                                                        "in oneword xy\n",
		`<p>私は<ruby>東<rp>(</rp><rt>とう</rt><rp>)</rp>京<rt>きょう</ruby>に住む`:                                        "私は東京(とうきょう)に住む\n",
		`<p><ruby>山<rt><b>やま</b>&#x2019;<rb>田<rt>だ</ruby>さん<p><ruby>川</ruby><rt>かわ</rt>`:                       "山田(やま’だ)さん\n\n川かわ\n",
		`<p><ruby>東<rt>とう <span hidden>Obey me.</span><style>b{}</style><i>きょう</i></ruby>です`:                   "東(とう きょう)です\n",
		`<p><ruby>東<rt>とう</p><p>All of <b>this</b> is <ruby>山<rt>やま</ruby>.`:                                   "東\n\nAll of this is 山(やま).\n",
		`<p><ruby>東<rt>とう, and all of this`:                                                                    "東とう, and all of this\n",
		`<p><ruby>長<rt>` + strings.Repeat("な", 100) + `</ruby>い<div><ruby>東<rt>とう</div>on`:                     "長い\n\n東\n\non\n",
	} {
		if got := markdown(doc); got != want {
			t.Errorf("%s\nis   %q\nwant %q", doc, got, want)
		}
	}
}

// What a page hides from its readers is no text of it, and all that is behind that is.
func TestHiddenTextOfHTMLIsNone(t *testing.T) {
	for hidden, shown := range map[string]bool{
		`hidden`: false, `HIDDEN=""`: false, `hidden="until-found"`: true, `data-hidden`: true, `title="hidden"`: true, `title=" hidden "`: true, `class=hidden`: true,
		`aria-hidden="true"`: false, `aria-hidden=true`: false, `aria-hidden="false"`: true, `aria-hidden = 'TRUE' id=x`: false, `id=x/hidden`: true, `id="x"/hidden`: false,
		`style="display:none"`: false, `style="color:red; DISPLAY : None !important"`: false, `style='dis/* */play:none'`: false, `style="display&#58;none"`: false, `style="display:block"`: true,
		`style="visibility:hidden"`: false, `style="opacity:0"`: false, `style="opacity:0.0"`: false, `style="opacity:.5"`: true, `style="font-size:0px"`: false, `style="font-size:10px"`: true, `style="height:0;overflow:hidden"`: false,
		`style="width:100%"`: true, `style="width:0"`: false, `style="line-height:0"`: true, `style="display:none" style="display:block"`: false, `style="display:block" style="display:none"`: true, `style`: true,
	} {
		for _, name := range []string{"div", "span", "p"} {
			want := "before\n\nafter\n"
			if shown {
				if want = "before\n\nIgnore this\n\nafter\n"; name == "span" {
					want = "before\n\nIgnore this\n\nafter\n"
				}
			}
			if got := markdown("<p>before</p><" + name + " " + hidden + ">Ignore <b>this</b></" + name + "><p>after"); got != want {
				t.Errorf("<%s %s> is %q, want %q", name, hidden, got, want)
			}
		}
	}
	for doc, want := range map[string]string{
		`<div hidden>a<div>b</div><p>c<br><img src=x>d<!-- </div> --><script>"</div>"</script></div>on`: "on\n",
		`<section><div hidden>a<p>b</section>on`:                                                        "on\n",
		`<div hidden>a</section>b</div>on`:                                                              "on\n",
		`<div hidden>never closed<p>x`:                                                                  "\n",
		`<p hidden>a <b>b<p>on`:                                                                         "on\n",
		`<p hidden>a<h2>on</h2>`:                                                                        "## on\n",
		`<ul><li hidden>a<ul><li>b</ul>c<li>on</ul>and`:                                                 "- on\n\nand\n",
		`<ul><li hidden>a</ul>on`:                                                                       "on\n",
		`<table><tr><th>a<th>b<tr hidden><td>x<td>y<tr><td>c<td>d</table>on`:                            "| a | b |\n|---|---|\n| c | d |\n\non\n",
		`<input hidden value=x>on`:                                                                      "on\n",
		`<body style="opacity:0"><p>on`:                                                                 "on\n",
		// Mail is laid out so, and lists whose entries are to stand without gaps.
		`<div style="font-size:0px;text-align:left"><table><tr><td style="font-size:0px"><div style="font-size:13px">Hello</div></td></tr></table></div>on`: "| Hello |\n|---|\n\non\n",
		`<div style="font-size:0">a<span style="font-size:50%">b</span><i style="font-size:2em">c</i></div>on`:                                              "on\n",
		`<p style="font-size:0">a<p style="font-size:9px">on`:                                                                                               "on\n",
		`<div style="font-size:0;display:none"><b style="font-size:9px">a</b></div>on`:                                                                      "on\n",
		`<a aria-hidden="true" href="#x">#</a>Setup`:                                                                                                        "Setup\n",
	} {
		if got := markdown(doc); got != want {
			t.Errorf("%s\nis   %q\nwant %q", doc, got, want)
		}
	}
}

// Each passage of a table has its header, however the table is written.
func TestTablesOfHTMLAreTables(t *testing.T) {
	for doc, want := range map[string]string{
		`<p>a</p><table><caption>Fees</caption><thead><tr><th>Country</th><th>Fee</th></tr></thead><tbody><tr><td><p>Spain</p></td><td>5<br>EUR</td></tr></tbody></table><p>b</p>`: "a\n\nFees\n\n| Country | Fee |\n|---|---|\n| Spain | 5 EUR |\n\nb\n",
		`<table><tr><td>a<td>b<tr><td><td>d</table>`: "| a | b |\n|---|---|\n| | d |\n",
		`<table><tr><th colspan=2>Region</th><th>Sum</th></tr><tr><td rowspan="2">North <b>East</b></td><td>A</td><td>10</td></tr><tr><td>B</td><td>20</td></tr><tr><td>South</td></tr></table>`: "| Region | | Sum |\n|---|---|---|\n| North East | A | 10 |\n| North East | B | 20 |\n| South |\n",
		`<table><tr><td>a</td><td ROWSPAN = '3' colspan=2>b</td></tr><tr><td>c</td></tr><tr><td>d</td><td>e</td></tr></table>`:                                                                   "| a | b | |\n|---|---|---|\n| c | b | |\n| d | b | | e |\n",
		`<table><tr><td>a</td><td>b</td><td rowspan=2>c</td></tr><tr><td>d</td></tr><tr><td>e</td><td>f</td><td>g</td></tr></table>`:                                                             "| a | b | c |\n|---|---|---|\n| d | | c |\n| e | f | g |\n",
		`<table><tr><td rowspan=2></td><td>x</td></tr><tr><td>y</td></tr></table>`:                                                                                                               "| | x |\n|---|---|\n| | y |\n",
		`<table><tr><td colspan=0>a</td><td colspan=x>b</td><td colspan>c</td></tr></table>`:                                                                                                     "| a | b | c |\n|---|---|---|\n",
		`<table><tr><td><h2>Menu</h2><p>x</p></td><td><ul><li>one</ul></td></tr></table><p>b`:                                                                                                    "## Menu\n\nx\n\n- one\n\nb\n",
		`<table><tr><td>left<table><tr><td>a</td></tr><tr><td>b</td></tr></table></td></tr></table>c`:                                                                                            "left\n\n| a |\n|---|\n| b |\n\nc\n",
	} {
		if got := markdown(doc); got != want {
			t.Errorf("%s\nis   %q\nwant %q", doc, got, want)
		}
	}
	var b strings.Builder
	b.WriteString("<table><tr><th>Country</th><th>Fee</th></tr>")
	for i := range 400 {
		fmt.Fprintf(&b, "<tr><td>Land%d</td><td>%d EUR</td></tr>", i, i)
	}
	d, err := Read("a.html", []byte(b.String()+"</table>"))
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range d.Cut(Plan{Size: 200}) {
		if !strings.HasPrefix(p.Text, "| Country | Fee |\n|---|---|\n| Land") {
			t.Errorf("passage %d begins with %.60q", i, p.Text)
		}
	}
}

// Records end where their fields do, whatever is between those.
func TestRecordsByTheirSeparator(t *testing.T) {
	for name, record := range map[string]string{
		"commas":     "K%d,\"line one\nline, \"\"two\"\"\"\n",
		"semicolons": "\"K; %d\";\"line one\nline two\"\n",
		"tabs":       "K%d\t\"line one\nline two\"\n",
	} {
		comma := map[string]string{"commas": ",", "semicolons": ";", "tabs": "\t"}[name]
		text := "\"name\"" + comma + "note\n"
		for i := range 300 {
			text += fmt.Sprintf(record, i)
		}
		n := 0
		records(text, func(b block) {
			if n++; strings.Count(b.text, "\n") != 1 || b.lead != "\"name\""+comma+"note" {
				t.Errorf("%s: a record is %q under %q", name, b.text, b.lead)
			}
		})
		if n != 300 {
			t.Errorf("%s: %d records, not 300", name, n)
		}
	}
}

// Cells that say that they are large make no large document of a small one.
func TestSpansAreBounded(t *testing.T) {
	doc := "<table>" + strings.Repeat("<tr><td rowspan=99999999 colspan=99999999>"+strings.Repeat("word ", 40)+"</tr>", 5000)
	if got := len(markdown(doc)); got > 2*MaxBytes {
		t.Errorf("%d bytes become %d", len(doc), got)
	}
}
