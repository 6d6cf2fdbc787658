import { useGraphiQL, useGraphiQLActions } from "@graphiql/react";
import { useState } from "react";

import { SECTIONS } from "./examples.js";

function Example({ example, open }) {
  return (
    <li>
      <button type="button" className="commonweal-example" onClick={() => open(example)}>
        <b>{example.name}</b>
        <span>{example.about}</span>
      </button>
    </li>
  );
}

function Examples() {
  const { addTab } = useGraphiQLActions();
  const queryEditor = useGraphiQL((state) => state.queryEditor);
  const variableEditor = useGraphiQL((state) => state.variableEditor);
  const [link, setLink] = useState("");
  const open = ({ query, variables }) => {
    addTab();
    queryEditor.setValue(query);
    variableEditor?.setValue(variables ?? "");
  };
  const share = () => {
    const given = new URLSearchParams({ q: queryEditor.getValue() });
    if (variableEditor?.getValue().trim()) {
      given.set("v", variableEditor.getValue());
    }
    setLink(`${location.origin}${location.pathname}#${given}`);
  };
  return (
    <section className="commonweal-panel">
      <h2>Examples</h2>
      {SECTIONS.map(({ title, examples }) => (
        <section key={title}>
          <h3>{title}</h3>
          <ul className="commonweal-examples">
            {examples.map((example) => (
              <Example key={example.name} example={example} open={open} />
            ))}
          </ul>
        </section>
      ))}
      <h3>Share</h3>
      <button type="button" className="commonweal-example" onClick={share}>
        Make a link to this query
      </button>
      {link && (
        <label className="commonweal-link">
          Link
          <input readOnly value={link} onFocus={(event) => event.target.select()} />
        </label>
      )}
    </section>
  );
}

const Icon = () => (
  <svg viewBox="0 0 24 24" fill="none" stroke="currentColor" strokeWidth="1.8" strokeLinecap="round">
    <path d="M5 4h14v16H5z" />
    <path d="M9 9h6M9 13h6M9 17h3" />
  </svg>
);

export const examplesPlugin = { title: "Examples", icon: Icon, content: Examples };
