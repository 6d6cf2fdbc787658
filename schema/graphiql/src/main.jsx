import "./workers.js";

import { explorerPlugin } from "@graphiql/plugin-explorer";
import "@graphiql/plugin-explorer/style.css";
import { GraphiQL, HISTORY_PLUGIN } from "graphiql";
import "graphiql/style.css";
import { createRoot } from "react-dom/client";

import { accountPlugin } from "./account.jsx";
import { costPlugin } from "./cost.jsx";
import { HEADERS, linked, SECTIONS } from "./examples.js";
import { examplesPlugin } from "./examples.jsx";
import { fetcher } from "./fetcher.js";
import icon from "./icon.svg";
import "./page.css";

const given = linked();
const first = SECTIONS[0].examples[0];
// The panel of a first visit; later ones open as the page was left.
const isFirstVisit = localStorage.getItem("graphiql:visiblePlugin") === null;

createRoot(document.getElementById("graphiql")).render(
  <GraphiQL
    fetcher={fetcher}
    defaultHeaders={HEADERS}
    defaultTabs={[given ?? { query: first.query }]}
    initialQuery={given?.query}
    initialVariables={given?.variables}
    visiblePlugin={isFirstVisit ? examplesPlugin : undefined}
    defaultEditorToolsVisibility="headers"
    plugins={[examplesPlugin, HISTORY_PLUGIN, explorerPlugin(), accountPlugin, costPlugin]}
  >
    <GraphiQL.Logo>
      <span className="commonweal-logo">
        <img src={new URL(icon, import.meta.url).href} alt="" />
        Commonweal
      </span>
    </GraphiQL.Logo>
  </GraphiQL>,
);
